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
content = { ratio = 3 }
"""


def run(*arguments: str) -> object:
    with pytest.raises(SystemExit) as stop:
        app(["tune", *arguments], exit_on_error=False, result_action="return_value")
    return stop.value.code


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO)
    return path


def test_what_is_best_and_how_to_set_it(scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(scenario), "--save", "writes", "-j", "1") == 0
    shown = capsys.readouterr().out
    assert "Best for writes: z" in shown
    assert "MemoryMax=262144" in shown
    assert max(len(line) for line in shown.splitlines() if not line.startswith("  ")) <= 80  # but for what is copied


def test_json_where_nothing_keeps_the_constraints(scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(scenario), "--save", "writes", "--within", "stall<=1ns", "-j", "1", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["best"] == found["settings"] == found["costs"] == []
    assert found["present"]["kind"] == "as it is"
    assert found["front"]


def test_a_kernel_to_verify_on_is_looked_at_before_the_work(scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swaplab.cli.tune.find", lambda *_: pytest.fail("it has been tuned"))
    with pytest.raises(InputError, match="bzImage"):
        app(["tune", str(scenario), "--verify", "--kernel", str(scenario)], exit_on_error=False)
