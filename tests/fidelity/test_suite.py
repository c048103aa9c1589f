"""The suite that ships: the replay against what a real kernel did, as it was recorded."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median

import msgspec
import pytest

from swaplab.errors import InputError
from swaplab.fidelity.judge import summary_of
from swaplab.fidelity.suite import judge, recorded_path, recorded_truth, scenario_files
from swaplab.replay import replay
from swaplab.result.counters import JUDGED
from swaplab.scenario.load import load_scenario
from swaplab.scenario.model import with_baseline
from swaplab.vm import at_pace

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guides/fidelity.md"
SUITE = ROOT / "scenarios" / "fidelity"
FILES = scenario_files([SUITE])


def test_every_scenario_has_its_truth_and_every_truth_its_scenario() -> None:
    assert {recorded_path(file) for file in FILES} == {*(SUITE / "truth").glob("*.json")}


def claims() -> dict[str, tuple[int, list[float]]]:
    """Of each counter, of all, and of all along the way: the number judged, the median, p90 and worst in the guide."""
    block = re.search(r"<!-- fidelity -->(.*)<!-- /fidelity -->", GUIDE.read_text(), re.DOTALL)
    assert block
    rows = re.findall(r"^([a-z_. ]+?) +(\d+) +([\d.]+)% +([\d.]+)% +([\d.]+)%$", block[1], re.MULTILINE)
    return {name: (int(count), [float(each) / 100 for each in numbers]) for name, count, *numbers in rows}


def test_the_replay_is_as_near_as_is_claimed() -> None:
    """To the last digit that the guide prints, counter by counter."""
    judged = [judge(file, scenario := load_scenario(file), recorded_truth(file, scenario)) for file in FILES]
    errors = [error for each in judged if not each.chaotic for error in each.errors]
    found = {name: [error.error for error in errors if error.counter == name] for name in JUDGED}
    found |= {"all": [error.error for error in errors], "along the way": [error.along for error in errors]}
    claimed = claims()
    assert found.keys() == claimed.keys()
    for name, values in found.items():
        summary, (count, bounds) = summary_of(values), claimed[name]
        assert len(values) == count, name
        for value, bound in zip((summary.median, summary.p90, summary.worst), bounds, strict=True):
            assert value < bound + 0.00051, name


def test_a_cgroup_with_cold_memory_pays_for_it_and_its_neighbour_does_not() -> None:
    """docs/neighbour.md: under one global LRU nobody writes back, with a list a cgroup the cold one, as in Linux."""
    file = SUITE / "cold-neighbour.toml"
    scenario = load_scenario(file)
    truth = recorded_truth(file, scenario)
    linux = {path: median(run[path]["zswpwb"][-1] or 0 for run in truth.runs) for path in ("cold", "beside")}
    one_list, listed = (
        replay(at_pace(with_baseline(scenario, name), truth.pace), truth.pace.cost) for name in ("global-lru", "memcg")
    )
    assert [each.final("beside")["zswpwb"] for each in (one_list, listed)] == [0, 0] == [linux["beside"]] * 2
    assert one_list.final("cold")["zswpwb"] == 0
    assert listed.final("cold")["zswpwb"] == pytest.approx(linux["cold"], rel=0.1)
    assert one_list.final("cold")["pswpin"] > listed.final("cold")["pswpin"]


def test_a_truth_of_another_scenario_is_refused() -> None:
    file = SUITE / "scan.toml"
    scenario = load_scenario(file)
    recorded_truth(file, msgspec.structs.replace(scenario, name="another name", source="elsewhere"))
    changed = msgspec.structs.replace(scenario, machine=msgspec.structs.replace(scenario.machine, seed=1))
    with pytest.raises(InputError, match="another scenario"):
        recorded_truth(file, changed)


def test_a_scenario_without_a_truth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--record"):
        recorded_truth(tmp_path / "a.toml", load_scenario(SUITE / "scan.toml"))


def test_a_directory_without_scenarios_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a directory with scenarios"):
        scenario_files([tmp_path])
