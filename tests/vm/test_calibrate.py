"""The pace of a guest: measured on the replay, it is what the replay was given; and a real guest has one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from swaplab.errors import UnsupportedError
from swaplab.replay import replay
from swaplab.result import SCHEMA, Guest, Result
from swaplab.scenario.cost import Cost
from swaplab.scenario.device import DEVICES, Device
from swaplab.scenario.load import parse_scenario
from swaplab.scenario.model import Scenario
from swaplab.vm import Kernel, LostGuestError, Pace, at_pace, guest_pace
from swaplab.vm.calibrate import calibration, pace_of

GUEST = Guest(
    kernel="Linux version 6.12.1 (someone)",
    accelerator="tcg",
    ram=300 << 20,
    free=256 << 20,
    zswap_limit=128 << 20,
    footprint={},
    seconds=5.0,
    checked=4,
)
SLOW = Pace(
    cost=Cost(
        access_ns=2_300,
        fault_minor_ns=25_000,
        fault_major_ns=18_000,
        compress_ns={"zstd": 57_000},
        decompress_ns={"zstd": 19_000},
        reclaim_page_ns=6_000,
        source="a guest with Linux 6.12.1 (tcg)",
    ),
    device=Device(
        read_latency_ns=170_000,
        write_latency_ns=170_000,
        read_bandwidth=1 << 40,
        write_bandwidth=1 << 40,
        submit_ns=70_000,
    ),
)


def on_guest(result: Result) -> Result:
    """What a kernel would have counted as the replay did."""
    return Result(msgspec.structs.replace(result.info, release=GUEST.release, guest=GUEST), result.samples)


def test_what_the_replay_is_given_is_measured_on_it() -> None:
    found = pace_of("zstd", on_guest(replay(at_pace(calibration("zstd", DEVICES["ssd"]), SLOW), SLOW.cost)))
    assert found.cost == SLOW.cost
    assert found.device.submit_ns == SLOW.device.submit_ns
    assert found.device.read_latency_ns == pytest.approx(SLOW.device.read_latency_ns, abs=10), "a transfer is in it"


def test_without_a_shrinker_a_request_is_in_the_latency() -> None:
    result = replay(at_pace(calibration("zstd", DEVICES["ssd"], shrinks=False), SLOW), SLOW.cost)
    uncounted = pa.nulls(len(result.samples), pa.int64())
    samples = result.samples.set_column(SCHEMA.names.index("zswpwb"), "zswpwb", uncounted)
    found = pace_of("zstd", on_guest(Result(result.info, samples)))
    assert found.cost == SLOW.cost
    assert found.device.submit_ns == 1
    waited = SLOW.device.submit_ns + SLOW.device.read_latency_ns
    assert found.device.read_latency_ns == pytest.approx(waited, abs=10), "a transfer is in it"


def test_a_kernel_without_a_shrinker_is_measured_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(scenarios: list[Scenario], kernels: list[Kernel], _progress: object) -> list[Result]:
        if scenarios[0].zswap.shrinker_enabled:
            raise UnsupportedError("Linux 6.1 has none")
        return [on_guest(replay(at_pace(scenarios[0], SLOW), SLOW.cost))]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("swaplab.vm.calibrate.run_on_kernel", measured)
    monkeypatch.setattr("swaplab.vm.calibrate.pace_of", lambda *_: SLOW)
    (tmp_path / "bzImage").touch()
    assert guest_pace(Kernel(tmp_path / "bzImage", {}), calibration("zstd", DEVICES["ssd"])) == SLOW


def test_a_guest_that_swaps_nowhere_has_no_pace() -> None:
    scenario = at_pace(calibration("zstd", DEVICES["ssd"]), SLOW)
    still = replay(msgspec.structs.replace(scenario, events=()), SLOW.cost)
    with pytest.raises(LostGuestError, match="wrote nothing back"):
        pace_of("zstd", on_guest(still))


@pytest.mark.parametrize("name", ["ssd", "hdd"])
def test_a_scenario_on_a_guest_keeps_what_the_guest_is_told(name: str) -> None:
    text = f'swap.device = "{name}"\n[[workload]]\npages = 1\naccesses = 1\n'
    device = at_pace(parse_scenario(text, "x.toml", Path()), SLOW).swap.device
    assert device == msgspec.structs.replace(SLOW.device, rotational=DEVICES[name].rotational)


def test_a_real_guest(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is measured once, and its disk is the scenario's."""
    scenario = calibration("lz4", DEVICES["nvme"])
    pace = guest_pace(kernel, scenario)
    assert pace.cost.source.startswith("a guest with Linux 6.12.")
    assert 1 < pace.cost.access_ns < pace.cost.fault_minor_ns
    assert pace.cost.reclaim_page_ns > 1
    assert pace.cost.compress_ns["lz4"] > 1
    assert pace.cost.decompress_ns["lz4"] > 1
    assert pace.device.submit_ns + pace.device.read_latency_ns == pytest.approx(81_272, rel=0.2)
    monkeypatch.setattr("swaplab.vm.calibrate.run_on_kernel", None)
    assert guest_pace(kernel, scenario) == pace
