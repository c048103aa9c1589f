from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from swaplab.cli import app
from swaplab.errors import InputError

REPORT = "MemTotal: 4G\nAnonPages: 1G\nZswapped: 300M\nZswap: 100M\nlimit hit 3, written back 5\n"


def run(*arguments: str) -> None:
    app(["doctor", *arguments], exit_on_error=False, result_action="return_value")


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.txt"
    path.write_text(REPORT)
    return path


def test_a_report_is_explained(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(str(report))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "! The pool reaches its limit"
    assert "zswap compresses 3.00 to 1" in lines
    assert max(map(len, lines)) <= 80


def test_json_from_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(REPORT.encode() + b"\xff\n")))
    run("-", "--json")
    names = [each["name"] for each in json.loads(capsys.readouterr().out)["findings"]]
    assert names == ["ratio", "pool-limit"]


def test_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    run("--json")
    assert set(json.loads(capsys.readouterr().out)) == {"findings", "unread"}


def test_the_scenario_may_go_to_standard_output(report: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(str(report), "--scenario", "-")
    output = capfd.readouterr()
    assert "[[workload]]" in output.out
    assert "The pool reaches its limit" in output.err


def test_watching_takes_this_machine(report: Path) -> None:
    with pytest.raises(InputError, match="--watch"):
        run(str(report), "--watch", "1")
