"""Diagrams that can be posted: no line too wide, nothing decisive left out."""

from __future__ import annotations

import re
from typing import Any
from unicodedata import east_asian_width

import pytest

from swaplab.explore import Program, Step, Violated, explore
from swaplab.races.museum import exhibits
from swaplab.races.offline import matrix
from swaplab.report.diagram import WIDTH, diagram, diagram_of

PROGRAMS: dict[str, Program[Any]] = {
    f"{exhibit.name}: {label}": program for exhibit in exhibits() for label, program in exhibit.broken.items()
} | {
    cell.label: cell.program
    for cell in matrix()
    if not cell.holds and ("lists at release" in cell.label or "feared, lookup rcu" in cell.label)
}
DECISIVE = {
    "acomp-ctx-hotunplug: freed without the mutex": (
        "kfree(CPU1.req)",
        "write CPU1.req.dlen",
    ),
    "alloc-after-check: checked outside the section": (
        "read child.is_dying = false",
        "write child.is_dying = true",
        "xa_store(ListLru.xa[2], child.lru) = NULL",
    ),
    "cursor-holds-offline-memcg: the cursor goes to an offline memcg": (
        "percpu_ref_tryget(B.refcnt) = true",
        "write Zswap.next_shrink = B",
    ),
    "destroy-vs-late-work: isolated pages are not waited for": ("kfree(zswap)",),
    "free-swap-vs-swapoff: nothing keeps the device": ("kfree(swap.map)", "read swap.map.byte"),
    "noio-recursion: the shrinker does not ask": ("mutex_lock(bio_mempool) waits",),
    "objcg-put-before-lru-del: the objcg is put first": ("kfree(child.objcg)", "read child.objcg.memcg"),
    "shrinker-bit-lost-on-reparent: set if there was nothing before": (
        "write parent.shrinker_bit = false",
        "write parent.lru.nr_items = 1",
    ),
    "walker-skip-after-unlock: skips": ("list_del(B.lru)", "kfree(B)"),
    "wrong-counter-heals: the splice counts what it moves": ("list_splice(child.lru.list",),
    "zswap-lru-add-vs-offline: the id changes after the splice": (
        "list_add_tail(E.lru, child.lru.list)",
        "kfree(child.lru)",
    ),
    "zswap-lru-add-vs-offline: the parent has no list yet": ("xa_load(ListLru.xa[1]) = NULL",),
    "add, its slot holds the child, list_lru 6.12, lookup rcu, lists at release": (
        "list_add_tail(E.lru, child.lru.list)",
        "write child.objcg.memcg = parent",
    ),
}
"""What a reader has to see, by program."""


AT_THE_END = ("invariant broken", "leak", "lock-order cycle")


def is_named(subject: str, sentence: str) -> bool:
    """Tell whether a sentence has the name of something in it."""
    return bool(subject) and re.search(rf"(?<![\w.]){re.escape(subject)}(?!\w)", sentence) is not None


def joined(text: str) -> str:
    """Undo the wrapping of lines."""
    return "".join(text.split())


@pytest.mark.parametrize("name", PROGRAMS)
def test_broken_programs(name: str) -> None:
    verdict = explore(PROGRAMS[name])
    assert isinstance(verdict, Violated)
    diagrams = {each.sentence: diagram(diagram_of(each.steps, each.kind, each.sentence)) for each in verdict.violations}
    for sentence, shown in diagrams.items():
        assert all(len(line) <= 80 for line in shown.splitlines())
        assert joined(sentence) in joined(shown)
        assert len(shown.splitlines()) > 5
    for each in verdict.violations:
        named = {step.subject for step in each.steps if is_named(step.subject, each.sentence)}
        assert named <= {step.subject for step in each.steps if step.matters}, "what the sentence names is shown"
        assert each.steps[-1].matters or each.kind in AT_THE_END, "and what breaks it"
    for operation in DECISIVE.get(name, ()):
        assert any(joined(operation) in joined(shown) for shown in diagrams.values()), operation


def test_there_are_such_programs() -> None:
    assert set(DECISIVE) <= set(PROGRAMS)


def step(cpu: str, *calls: str, what: str = "write", task: str = "", **other: Any) -> Step:
    """An operation with what matters here."""
    defaults: dict[str, Any] = {
        "column": int(cpu[-1]),
        "begun": 0,
        "subject": "a.b",
        "arguments": [],
        "value": "1",
        "matters": True,
    }
    return Step(cpu=cpu, task=task or cpu, calls=list(calls), what=what, **defaults | other)


def test_columns_in_the_order_of_tasks_and_wrapped() -> None:
    long = step("CPU0", "f()", what="atomic_cmpxchg", subject="thing.counter", arguments=["old", "new"], value="old")
    found = diagram(diagram_of([step("CPU1"), long, step("CPU0", begun=0)], "warning", "it is so"), 36).splitlines()
    assert found == [
        "CPU0                   CPU1",
        "----                   ----",
        "                       write a.b = 1",
        "f()",
        "  atomic_cmpxchg(thing.counter,",
        "      old, new) = old",
        "write a.b = 1",
        "",
        "=> warning: it is so",
    ]


def test_wide_characters_take_two_columns() -> None:
    steps = [step("CPU0", "f()", subject="\u8ba1\u6570" * 9 + ".x"), step("CPU1", subject="\u8ba1.y")]
    lines = diagram(diagram_of(steps, "warning", "\u8ba1\u6570 " * 30)).splitlines()
    assert max(sum(1 + (east_asian_width(each) == "W") for each in line) for line in lines) <= WIDTH
    assert any("\u8ba1.y" in line for line in lines)


def test_functions_that_only_call_another_are_left_out() -> None:
    steps = [step("CPU0", "outer()", "only()", "inner()"), step("CPU0", "outer()", "other()", "_part()", begun=1)]
    assert diagram(diagram_of(steps, "warning", "it is so")).splitlines()[2:6] == [
        "outer()",
        "  inner()",
        "    write a.b = 1",
        "  other()",
    ]


def test_deferred_work_stands_under_its_name() -> None:
    steps = [
        step("CPU0", "f()"),
        step("CPU0", task="free", what="kfree", value=""),
        step("CPU0", "work(x)", task="work"),
        step("CPU0", "f()", begun=1),
    ]
    assert diagram(diagram_of(steps, "warning", "it is so")).splitlines()[2:9] == [
        "f()",
        "  write a.b = 1",
        "[free]",
        "  kfree(a.b)",
        "[work(x)]",
        "  write a.b = 1",
        "[CPU0]",
    ]


def test_what_comes_again_and_again_is_folded() -> None:
    steps = [step("CPU0", value="0"), *(step("CPU0", "f()", value=value) for value in "12" * 4), step("CPU1")]
    assert [line.rstrip() for line in diagram(diagram_of(steps, "warning", "it is so")).splitlines()[2:-2]] == [
        "write a.b = 0",
        "f()",
        "  write a.b = 1",
        "f()",
        "  write a.b = 2",
        "[the same 3 times more]",
        "                         write a.b = 1",
    ]


def test_tasks_without_steps() -> None:
    assert (
        diagram(diagram_of([], "invariant broken", "v is 1")).splitlines()[0]
        == "(no task does anything that is watched)"
    )
