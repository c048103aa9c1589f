"""Slowdown has a base that the scenario states, and none where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from swaplab.errors import InputError
from swaplab.replay import replay
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.load import load_scenario, parse_scenario
from swaplab.scenario.model import OwnTime, Scenario
from swaplab.study.plan import Variant
from swaplab.study.run import processes
from swaplab.study.table import Outcome, Spread, outcome_of, spreads
from swaplab.study.tune import parse_constraint, tune

THINK = """
[cgroup."a"]
memory.max = "256K"
[cgroup."a/b"]
[cgroup."c"]
[[workload]]
cgroup = "a/b"
pages = 100
accesses = 1000
think = "80us"
[[workload]]
cgroup = "c"
pages = 10
accesses = 100
think = "1ms"
"""
MS = 10**6


def scenario(text: str = THINK, *settings: str) -> Scenario:
    return parse_scenario(text, "s", Path(), settings)


def test_times_add_up_to_the_machine() -> None:
    found = Accesses(scenario()).own_times()
    assert found == {"a/b": OwnTime(80 * MS), "a": OwnTime(80 * MS), "c": OwnTime(100 * MS), "": OwnTime(180 * MS)}


def test_one_that_does_not_say_it_leaves_its_parents_without() -> None:
    text = THINK.replace('think = "80us"\n', "")
    assert Accesses(scenario(text)).own_times() == {"c": OwnTime(100 * MS)}


@pytest.mark.parametrize("what", ["exit", "remove"])
def test_what_is_ended_has_no_time_of_its_own(what: str) -> None:
    event = f'[[event]]\nat = 50\ncgroup = "c"\n{what} = true\n'
    assert "c" not in Accesses(scenario(THINK + event)).own_times()


def test_slowdown_is_the_time_lost_over_it() -> None:
    result = replay(scenario())
    lost = result.final("a/b").time_lost
    assert result.slowdown("a/b") == pytest.approx(lost / (80 * MS))
    assert lost > 8 * MS
    assert result.slowdown() == (lost + result.final("c").time_lost) / (180 * MS)
    assert outcome_of(result).slowdown == max(result.slowdown("a/b") or 0, result.slowdown("c") or 0)


def test_of_a_recording_it_is_as_much_as_is_replayed() -> None:
    path = Path("scenarios/recordings/database/scenario.toml")
    whole = Accesses(load_scenario(path))
    half = Accesses(load_scenario(path, [f"workload.0.accesses={whole.total // 2}", "workload.0.time=about 1s"]))
    assert whole.own_times()["app"] == OwnTime(890 * MS)
    assert half.own_times()["app"].is_about
    assert half.own_times()["app"].ns == pytest.approx(10**9 / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("workload.0.think=0ns", r"workload\[0\]\.think: expected a time above 0, found 0"),
        ("workload.0.think=80", r"workload\[0\]\.think: expected a duration"),
        ("workload.0.think=146d", r"workload\[0\]\.think: expected a duration"),
        ("workload.0.think=4000000000s", r"workload\[0\]\.think: expected a time with which no run takes 146 years"),
        ("workload.0.time=1s", r"workload\[0\]\.time: expected none with a pattern"),
        ("workload.0.time=soon", r"workload\[0\]\.time: expected a duration"),
    ],
)
def test_what_is_no_time(change: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Accesses(scenario(THINK, change))


def test_a_trace_says_time_and_not_think() -> None:
    with pytest.raises(InputError, match=r"workload\[0\]\.think: expected none with a trace"):
        load_scenario(Path("scenarios/recordings/database/scenario.toml"), ["workload.0.think=80ns"])


def test_a_limit_on_slowdown_is_kept() -> None:
    limit = parse_constraint("slowdown<=2.5%")
    assert limit.most == 0.025
    assert limit.is_kept(Outcome(0, 0, 0, 0, 0, 0, 0.02))
    assert not limit.is_kept(Outcome(0, 0, 0, 0, 0, 0, 0.03))


def test_without_a_base_it_is_refused_by_name() -> None:
    with processes(1) as mapped, pytest.raises(InputError, match=r"--within slowdown.*stall, refaults or writes"):
        tune(
            scenario(THINK.replace('think = "1ms"\n', "")),
            "memory",
            [parse_constraint("slowdown<=2%")],
            mapped,
            lambda _: pytest.fail("it was replayed"),
        )


@pytest.mark.parametrize("text", ["slowdown<=0.02", "slowdown<=x%", "slowdown<=-1%"])
def test_slowdown_is_a_percentage(text: str) -> None:
    with pytest.raises(InputError, match="a percentage such as 2%"):
        parse_constraint(text)


def test_a_spread_without_one_has_none() -> None:
    variants = [Variant({"k": "1"}, scenario(), seed) for seed in range(2)]
    with_base, without = Outcome(1, 1, 1, 1, 1, 0, 0.5), Outcome(1, 1, 1, 1, 1, 0)
    assert spreads(variants, [with_base, without]).rows[0].median.slowdown is None
    assert spreads(variants, [with_base] * 2).rows == [Spread({"k": "1"}, with_base, with_base, with_base)]
