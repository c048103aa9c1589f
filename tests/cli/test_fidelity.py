"""`swaplab fidelity`, by the results that ship."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from swaplab.cli import app
from swaplab.errors import InputError
from swaplab.fidelity.suite import recorded_path
from swaplab.linux.release import MODELLED, Release

SUITE = Path(__file__).parents[2] / "scenarios" / "fidelity"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A scenario with results of both releases."""
    own = tmp_path / "phases.toml"
    shutil.copy(SUITE / own.name, own)
    for release in map(Release.parse, MODELLED):
        recorded_path(own, release).parent.mkdir(parents=True)
        shutil.copy(recorded_path(SUITE / own.name, release), recorded_path(own, release))
    return own


def run(*arguments: object) -> None:
    app(["fidelity", *map(str, arguments)], exit_on_error=False, result_action="return_value")


def test_all_releases_with_results_are_judged_or_one(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(file, "--recorded", "--json")
    assert [each["release"] for each in json.loads(capsys.readouterr().out)] == ["6.12", "7.2"]
    recorded_path(file, Release(6, 12)).unlink()
    run(file, "--recorded", "--json")
    assert [each["release"] for each in json.loads(capsys.readouterr().out)] == ["7.2"]
    run(file, "--recorded", "--kernel", "7.2", "--json")
    assert [each["release"] for each in json.loads(capsys.readouterr().out)] == ["7.2"]
    with pytest.raises(InputError, match=r"truth/6\.12/phases\.json: expected what swaplab fidelity --record writes"):
        run(file, "--recorded", "--kernel", "6.12")


def test_each_release_has_its_tables_and_its_sentence(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(file, "--recorded")
    shown = capsys.readouterr().out
    for release in MODELLED:
        assert f"Scenarios on Linux {release}" in shown
        assert f"Counters of Linux {release}" in shown
        assert f"The replay's error at the end, on Linux {release}: median" in shown


def test_what_does_not_go_with_recorded_results_is_refused(file: Path) -> None:
    with pytest.raises(InputError, match="neither --record nor --modules"):
        run(file, "--recorded", "--record")
    with pytest.raises(InputError, match=r"expected a series of Linux, such as 6\.12, found bzImage"):
        run(file, "--recorded", "--kernel", "bzImage")
