"""The suite that ships: the replay against what a real kernel did, as it was recorded."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from statistics import median

import msgspec
import pytest

from swaplab.errors import InputError
from swaplab.fidelity.judge import summary_of
from swaplab.fidelity.suite import (
    recorded_path,
    recorded_releases,
    recorded_truth,
    replay_errors,
    scenario_files,
)
from swaplab.linux.release import BASE, MODELLED, Release
from swaplab.replay import replay
from swaplab.scenario.load import load_scenario
from swaplab.scenario.model import with_baseline
from swaplab.vm import at_pace

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "fidelity.md"
SUITE = ROOT / "scenarios" / "fidelity"
FILES = scenario_files([SUITE])
RELEASES = [Release.parse(each) for each in MODELLED]


def test_every_scenario_has_its_truths_and_every_truth_its_scenario() -> None:
    assert {recorded_path(file, release) for file in FILES for release in RELEASES} == {*SUITE.glob("truth/*/*.json")}


def claims() -> dict[tuple[Release, str], list[float]]:
    """What the guide says of each scenario on each release: the median, p90 and worst error, and that along the way."""
    found: dict[tuple[Release, str], list[float]] = {}
    for part in GUIDE.read_text().split("Scenarios on Linux ")[1:]:
        rows = re.findall(r"^([a-z0-9-]+)(?: ~)? +([\d.]+)% +([\d.]+)% +([\d.]+)% +([\d.]+)%", part, re.MULTILINE)
        release = Release.parse(part.split("\n", 1)[0])
        found |= {(release, name): [float(each) / 100 for each in numbers] for name, *numbers in rows}
    return found


CLAIMS = claims()


def test_the_guide_has_all_scenarios_of_all_releases() -> None:
    assert CLAIMS.keys() == {(release, file.stem) for release in RELEASES for file in FILES}


@pytest.mark.parametrize(("release", "name"), CLAIMS, ids=str)
def test_the_replay_is_as_near_as_is_claimed(release: Release, name: str) -> None:
    """To the last digit that the guide prints."""
    scenario = load_scenario(file := SUITE / f"{name}.toml")
    errors = replay_errors(scenario, recorded_truth(file, scenario, release))
    summary, along = summary_of([error.error for error in errors]), median(error.along for error in errors)
    for value, bound in zip((summary.median, summary.p90, summary.worst, along), CLAIMS[release, name], strict=True):
        assert value < bound + (0.00051 if bound < 1 else 0.0051), name


def test_a_cgroup_with_cold_memory_pays_for_it_and_its_neighbour_does_not() -> None:
    """docs/neighbour.md: under one global LRU nobody writes back, with a list a cgroup the cold one, as in Linux."""
    file = SUITE / "cold-neighbour.toml"
    scenario = load_scenario(file)
    truth = recorded_truth(file, scenario, BASE)
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
    recorded_truth(file, msgspec.structs.replace(scenario, name="another name", source="elsewhere"), BASE)
    changed = msgspec.structs.replace(scenario, machine=msgspec.structs.replace(scenario.machine, seed=1))
    with pytest.raises(InputError, match="another scenario"):
        recorded_truth(file, changed, BASE)


def test_a_scenario_without_a_truth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--record"):
        recorded_truth(tmp_path / "a.toml", load_scenario(SUITE / "scan.toml"), BASE)
    with pytest.raises(InputError, match="--record"):
        recorded_releases(tmp_path / "a.toml")


def test_a_truth_of_another_release_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "scan.toml"
    recorded_path(file, Release(7, 2)).parent.mkdir(parents=True)
    shutil.copy(recorded_path(SUITE / "scan.toml", BASE), recorded_path(file, Release(7, 2)))
    with pytest.raises(InputError, match=r"expected results of Linux 7\.2, found those of 6\.12"):
        recorded_truth(file, load_scenario(SUITE / "scan.toml"), Release(7, 2))


def test_a_directory_without_scenarios_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a directory with scenarios"):
        scenario_files([tmp_path])
