from __future__ import annotations

import json
from pathlib import Path

import pytest

from swaplab.cli import app
from swaplab.errors import InputError

SCENARIO = """
[cgroup."app"]
memory.max = "256K"
[[workload]]
cgroup = "app"
pages = 100
accesses = 2000
"""
HISTOGRAMS = """\
machine,class,job,time,cold_0,cold_120,promotions_120
m1,web,a,0,1000,500,0
m1,web,a,600,1000,500,5
m2,db,b,0,1000,500,0
m2,db,b,600,1000,500,50
"""


def run(*arguments: str) -> None:
    app(["fleet", *arguments], exit_on_error=False, result_action="return_value")


@pytest.fixture
def histograms(tmp_path: Path) -> str:
    path = tmp_path / "fleet.csv"
    path.write_text(HISTOGRAMS)
    return str(path)


@pytest.fixture
def machines(tmp_path: Path) -> str:
    for name in ("web/a", "web/b", "db/c"):
        (tmp_path / "fleet" / name).mkdir(parents=True)
        (tmp_path / "fleet" / name / "scenario.toml").write_text(SCENARIO)
    return str(tmp_path / "fleet")


def test_what_to_call_cold(histograms: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(histograms)
    shown = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[3] for line in shown.splitlines()[3:6]}
    assert rows == {"db": "none", "web": "120", "all": "none"}
    assert "web, until the next boot" in shown
    assert "min_age" in shown
    run(histograms, "--percentile", "50", "--ratio", "2", "--compressible", "50%", "--json")
    overall = json.loads(capsys.readouterr().out)[-1]
    assert (overall["threshold"], overall["saved"]) == (120, 2 * 500 * 4096 / 4)
    assert overall["losers"] == [{"kind": "db", "machine": "m2", "job": "b", "over": 1.0, "needs": None}]


def test_files_add_up(histograms: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.csv"
    other.write_text(HISTOGRAMS.replace("m1", "m3").replace("m2", "m4"))
    run(histograms, str(other), "--json")
    assert json.loads(capsys.readouterr().out)[-1]["machines"] == 4
    other.write_text(HISTOGRAMS.replace("_120", "_240"))
    with pytest.raises(InputError, match=r"other\.csv: expected the ages of .* \(0, 120\), found 0, 240"):
        run(histograms, str(other))


def test_what_to_set(machines: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(machines, "--vary", "limits=50%,90%", "--within", "refaults<=3000", "-j", "1")
    shown = capsys.readouterr().out
    assert "web (2)" in shown
    assert max(map(len, shown.splitlines())) <= 80
    run(machines, "--vary", "limits=50%,90%", "--json", "-j", "1")
    found = json.loads(capsys.readouterr().out)
    assert [each["kind"] for each in found] == ["db", "web", ""]
    assert [each["best"] for each in found] == [0, 0, 0]
    assert len(found[-1]["choices"][1]["losers"]) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["HISTOGRAMS", "--vary", "samples=1,2"], "--vary: expected a directory with recordings with it"),
        (["HISTOGRAMS", "--cluster", "local:2"], "--cluster: expected a directory"),
        (["HISTOGRAMS", "--target", "a lot"], "--target: expected a percentage"),
        (["MACHINES", "--vary", "samples=1,2", "--ratio", "2"], "--ratio: expected histograms with it"),
        (["MACHINES"], "something to vary"),
        (["MACHINES", "MACHINES", "--vary", "samples=1,2"], "one directory, found 2"),
        ([], "files with histograms, or a directory"),
    ],
)
def test_what_is_refused(arguments: list[str], said: str, histograms: str, machines: str) -> None:
    given = [{"HISTOGRAMS": histograms, "MACHINES": machines}.get(each, each) for each in arguments]
    with pytest.raises(InputError, match=said):
        run(*given)
