from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from swaplab.cli import app
from swaplab.errors import InputError
from swaplab.host.disk import measure_device
from swaplab.scenario.cost import DEFAULT_COST, Cost, load_cost
from swaplab.scenario.device import DEVICES


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured is tested elsewhere; here it takes no time."""
    monkeypatch.setattr("swaplab.cli.calibrate.measure_cost", lambda step: DEFAULT_COST)
    monkeypatch.setattr("swaplab.cli.calibrate.measure_device", lambda directory, step: DEVICES["ssd"])


def run(*arguments: str) -> None:
    app(["calibrate", *arguments], exit_on_error=False, result_action="return_value")


def test_a_cost_file(tmp_path: Path) -> None:
    run("-o", str(tmp_path / "cost.toml"))
    assert load_cost(tmp_path / "cost.toml") == DEFAULT_COST


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    run("--device", "/var/tmp")  # noqa: S108
    output = capsys.readouterr().out
    assert f"device = {DEVICES['ssd'].to_toml()}\n" in output
    assert "decompress lzo-rle" in output
    assert f"{DEFAULT_COST.fault_minor_ns:,}" in output


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    run("--json")
    found = json.loads(capsys.readouterr().out)
    assert msgspec.convert(found["cost"], Cost) == DEFAULT_COST
    assert found["device"] is None


def test_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(directory: Path, step: object) -> None:
        raise InputError("--device", "a directory", "none")

    monkeypatch.setattr("swaplab.cli.calibrate.measure_device", fail)
    with pytest.raises(InputError):
        run("-o", str(tmp_path / "cost.toml"), "--device", "/nowhere")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_measured_for_a_file_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(step: object) -> None:
        pytest.fail("measured")

    monkeypatch.setattr("swaplab.cli.calibrate.measure_cost", fail)
    for output in (tmp_path, tmp_path / "nowhere" / "cost.toml"):
        with pytest.raises(InputError, match="-o: expected a file that can be written"):
            run("-o", str(output))


def test_a_directory_is_looked_at_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swaplab.cli.calibrate.measure_cost", lambda step: pytest.fail("the processor was measured"))
    monkeypatch.setattr("swaplab.cli.calibrate.measure_device", measure_device)
    with pytest.raises(InputError, match=r"--device .*nowhere: expected a directory on the device, found none"):
        run("--device", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="--device /proc: expected a directory that can be written, found No such"):
        run("--device", "/proc")
