from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from swaplab.cli import app
from swaplab.errors import InputError
from swaplab.host.calibrate import Calibration, Order
from swaplab.host.disk import DeviceMeasured, measure_device
from swaplab.host.timing import Spread
from swaplab.scenario.cost import DEFAULT_COST, Cost, load_cost
from swaplab.scenario.device import DEVICES

FOUND = Calibration(
    DEFAULT_COST,
    {"fault_minor_ns": Spread(1880, 1500, 2000), "decompress_ns.lzo-rle": Spread(3550, 3000, 4000)},
    rounds=40,
    waited=0.6,
    unsteady=["decompress_ns.lzo-rle"],
    orders=[Order("compress", "lz4", "lzo", 0.7)],
)
SSD = DeviceMeasured(DEVICES["ssd"], {"read a page at random": Spread(90_000, 80_000, 95_000)})


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured is tested elsewhere; here it takes no time."""
    monkeypatch.setattr("swaplab.cli.calibrate.measure_cost", lambda step: FOUND)
    monkeypatch.setattr("swaplab.cli.calibrate.measure_device", lambda directory, step: SSD)


def run(*arguments: str) -> None:
    app(["calibrate", *arguments], exit_on_error=False, result_action="return_value")


def test_a_cost_file(tmp_path: Path) -> None:
    run("-o", str(tmp_path / "cost.toml"))
    assert load_cost(tmp_path / "cost.toml") == DEFAULT_COST


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    run("--device", "/var/tmp")  # noqa: S108
    output = capsys.readouterr().out
    assert f"device = {DEVICES['ssd'].to_toml()}\n" in output
    lines = [line.split() for line in output.splitlines()]
    assert ["minor", "fault", "1,880", "1,500", "to", "2,000"] in lines
    assert ["read", "a", "page", "at", "random", "90,000", "80,000", "to", "95,000"] in lines
    said = " ".join(output.split())
    assert "UNSURE: 40 rounds do not agree on decompress lzo-rle" in said
    assert "UNSURE: for 60% of the time others ran" in said
    assert "UNSURE which is faster to compress: lz4 was faster than lzo in 70% of the rounds" in said


def test_the_device_is_in_the_cost_file(tmp_path: Path) -> None:
    run("-o", str(tmp_path / "cost.toml"), "--device", "/var/tmp")  # noqa: S108
    cost = load_cost(tmp_path / "cost.toml")
    assert cost == msgspec.structs.replace(DEFAULT_COST, device=DEVICES["ssd"])


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    run("--json")
    found = json.loads(capsys.readouterr().out)
    assert msgspec.convert(found["cost"], Cost) == DEFAULT_COST
    assert found["device"] is None
    assert found["spreads"]["fault_minor_ns"] == [1880, 1500, 2000]
    assert found["orders"] == [["compress", "lz4", "lzo", 0.7]]


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
