"""The matrix of `swaplab check offline`; the large fields are left to the command."""

from __future__ import annotations

from functools import cache

import pytest

from swaplab.explore import Holds, Verdict, Violated, explore
from swaplab.races.offline import Cell, matrix

CELLS = {cell.label: cell for cell in matrix()}
LARGE = ("walk and writeback", "no slot holds", "feared, lookup tryget", "page, faulted in, parent and child")


def test_labels_are_unique() -> None:
    assert len(CELLS) == len(matrix())


@cache
def judged(label: str) -> Verdict:
    """Explore a field once."""
    return explore(CELLS[label].program)


@pytest.mark.parametrize("label", [label for label in CELLS if not any(part in label for part in LARGE)])
def test_verdicts(label: str) -> None:
    cell: Cell = CELLS[label]
    assert isinstance(judged(label), Holds if cell.holds else Violated), judged(label)


def test_the_fear_and_the_answer() -> None:
    """What was feared loses the entry; RCU alone is enough where kmemcg_id is switched."""
    feared = judged("add, list_lru feared, lookup rcu, lists at offline")
    assert isinstance(feared, Violated)
    (found,) = feared.violations
    assert found.sentence.endswith("Entry E is on no list that reclaim can reach: nobody will ever write it back")
    shown = [f"{step.what} {step.subject}" for step in found.steps if step.matters]
    history = [shown.index(each) for each in ("list_splice parent.lru.list", "list_add_tail child.lru.list")]
    assert history == sorted(history), "it is added after the splice"
    assert shown.index("kfree child.lru") > history[1], "and before the list is freed"
    assert isinstance(judged("add, list_lru 6.12, lookup rcu, lists at offline"), Holds)


def test_a_page_in_use_makes_a_zombie_in_6_12_and_none_in_7_2() -> None:
    zombie = judged("page, scanned, is the child released, Linux 6.12")
    assert isinstance(zombie, Violated)
    (found,) = zombie.violations
    assert found.sentence.endswith("MemCgroup child is not released while its page is used: a zombie")
    assert isinstance(judged("page, scanned, is the child released, Linux 7.2"), Holds)


def test_the_removal_of_what_was_swallowed_crashes() -> None:
    feared = judged("add, then removal, list_lru feared, lookup rcu, lists at offline")
    assert isinstance(feared, Violated)
    crash = next(each for each in feared.violations if each.kind == "use after free")
    assert crash.sentence == "ListLruOne child.lru.list is used after ListLruOne child.lru was freed"
    shown = [(step.cpu, f"{step.what} {step.subject}") for step in crash.steps if step.matters]
    assert shown[-1][0] == "CPU0"
    assert any(call.startswith("zswap_lru_del(") for call in crash.steps[-1].calls)
    assert shown.index(("CPU0", "list_add_tail child.lru.list")) < shown.index(("CPU1", "kfree child.lru"))
