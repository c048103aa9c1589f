from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from swaplab.errors import InputError
from swaplab.fleet.machines import AS_IT_IS, Class, Plan, choose, machines_in, settings_of
from swaplab.scenario.cost import DEFAULT_COST
from swaplab.study import run
from swaplab.study.plan import Variant
from swaplab.study.run import Map, Summarise, Task, processes
from swaplab.study.table import Outcome, Summary
from swaplab.study.tune import Constraint
from swaplab.study.vary import parse_axis

SCENARIO = """
[cgroup."app"]
memory.max = "256K"
[[workload]]
cgroup = "app"
pages = {pages}
accesses = 2000
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Three of one class, one of another, and one of none."""
    for place, pages in (("web/a", 100), ("web/b", 110), ("web/c", 120), ("db/d", 70)):
        directory = tmp_path / "fleet" / place
        directory.mkdir(parents=True)
        (directory / "scenario.toml").write_text(SCENARIO.format(pages=pages))
    (tmp_path / "fleet/e.toml").write_text(SCENARIO.format(pages=50))
    return tmp_path / "fleet"


def test_machines_and_their_classes(fleet: Path) -> None:
    found = machines_in(fleet)
    assert [(each.kind, each.name) for each in found] == [
        ("", "e"),
        ("db", "d"),
        ("web", "a"),
        ("web", "b"),
        ("web", "c"),
    ]
    (fleet / "empty").mkdir()
    with pytest.raises(InputError, match="recordings, or scenarios"):
        machines_in(fleet / "empty")


def test_limits_are_an_axis_of_their_own(fleet: Path) -> None:
    settings = settings_of([parse_axis("limits=50%,75%"), parse_axis("machine.seed=1")])
    plan = Plan(machines_in(fleet), ["samples=2"], settings)
    variants = list(plan.variants())
    assert len(variants) == len(plan) == 5 * 3
    assert [each.settings for each in variants[:3]] == [AS_IT_IS, *settings[1:]]
    limits = [each.scenario.cgroups["app"].memory_max for each in variants[:3]]
    assert limits == [256 << 10, 128 << 10, 192 << 10]
    assert {each.scenario.samples for each in variants} == {2}
    assert [each.scenario.machine.seed for each in variants[:3]] == [0, 1, 1]


@pytest.mark.parametrize("value", ["64M", "0%", "-5%", "x%", "2000%"])
def test_limits_are_percentages(value: str) -> None:
    with pytest.raises(InputError, match="--vary limits: expected percentages"):
        settings_of([parse_axis(f"limits={value}")])


def test_all_machines_are_checked_before_anything_runs(fleet: Path) -> None:
    (fleet / "web/c/scenario.toml").write_text("workload = 1")
    with pytest.raises(InputError, match=r"web/c/scenario\.toml: workload"):
        Plan(machines_in(fleet), [], settings_of([])).check()
    (fleet / "web/c/scenario.toml").write_text(SCENARIO.format(pages=9))
    with pytest.raises(InputError, match=r"e\.toml: --within slowdown"):
        Plan(machines_in(fleet), [], settings_of([])).check([Constraint("slowdown", 0.02)])
    with pytest.raises(InputError, match=r"zswap\.compressor: expected lzo"):
        Plan(machines_in(fleet), [], settings_of([parse_axis("zswap.compressor=quick")])).check()


def outcome(memory: float, stall: float = 0, killed: float = 0) -> Outcome:
    return Outcome(memory, 0, 0, 0, stall, killed)


def mapped_to(*outcomes: Outcome) -> Map:
    """What a plan of those comes to, machine by machine."""

    def mapped(_task: Task, variants: Iterable[Variant]) -> Iterator[Summary]:
        for _, found in zip(variants, outcomes, strict=True):
            yield Summary(found, {})

    return mapped


def chosen(fleet: Path, outcomes: list[Outcome], *constraints: Constraint, share: float = 1.0) -> list[Class]:
    plan = Plan(machines_in(fleet), [], settings_of([parse_axis("limits=50%,75%")]))
    return choose(plan, mapped_to(*outcomes), lambda _: pytest.fail("run"), "memory", constraints, share)


SAME = [outcome(100, 10), outcome(60, 10), outcome(80, 10)]


def test_the_least_that_nobody_loses_by(fleet: Path) -> None:
    slower = [outcome(100, 10), outcome(60, 12), outcome(80, 10)]
    none, db, web, overall = chosen(fleet, [*SAME, *SAME, *SAME, *slower, *SAME])
    assert [each.kind for each in (none, db, web, overall)] == ["", "db", "web", ""]
    assert [each.best for each in (none, db, web, overall)] == [1, 1, 2, 2]
    assert web.choices[1].losers == overall.choices[1].losers == [3]
    assert overall.choices[2].total == 400
    assert list(overall.choices[2].gains) == pytest.approx([0.2] * 5)


def test_a_share_may_lose(fleet: Path) -> None:
    slower = [outcome(100, 10), outcome(60, 12), outcome(80, 10)]
    *_, web, overall = chosen(fleet, [*SAME, *SAME, *SAME, *slower, *SAME], share=0.8)
    assert (web.best, overall.best) == (2, 1)


def test_who_is_killed_loses(fleet: Path) -> None:
    dead = [outcome(100), outcome(10, 0, killed=1), outcome(80)]
    assert chosen(fleet, [*SAME * 4, *dead])[-1].best == 2
    always = [each._replace(killed=1) for each in dead]
    assert chosen(fleet, [*SAME * 4, *always])[-1].best == 1


def test_with_a_constraint_who_keeps_it_does_not_lose(fleet: Path) -> None:
    slower = [outcome(100, 10), outcome(60, 40), outcome(80, 60)]
    overall = chosen(fleet, [*SAME * 4, *slower], Constraint("stall", 50))[-1]
    assert (overall.best, overall.choices[2].losers) == (1, [4])


def test_who_breaks_it_as_it_is_loses_by_breaking_it_more(fleet: Path) -> None:
    broken = [outcome(100, 60), outcome(60, 55), outcome(80, 65)]
    overall = chosen(fleet, [*SAME * 4, *broken], Constraint("stall", 50))[-1]
    assert [each.losers for each in overall.choices] == [[], [], [4]]


def test_what_was_interrupted_goes_on(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, bytes] = {}
    monkeypatch.setattr(run, "read_cached", kept.get)
    monkeypatch.setattr(run, "write_cached", kept.__setitem__)
    plan = Plan(machines_in(fleet), ["samples=2"], settings_of([parse_axis("limits=50%")]))

    def stop(done: list[int]) -> None:
        done.append(0)
        if len(done) == 4:
            raise KeyboardInterrupt

    done: list[int] = []
    with processes(1) as mapped, pytest.raises(KeyboardInterrupt):
        choose(plan, mapped, Summarise(DEFAULT_COST), "memory", [], 1.0, lambda: stop(done))
    assert len(kept) == 4
    with processes(1) as mapped:
        first = choose(plan, mapped, Summarise(DEFAULT_COST), "memory", [], 1.0)
        monkeypatch.setattr(run, "replay", None)
        again = choose(plan, mapped, Summarise(DEFAULT_COST), "memory", [], 1.0)
    assert len(kept) == len(plan)
    assert [each.choices[1].total for each in again] == [each.choices[1].total for each in first]
