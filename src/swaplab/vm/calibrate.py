"""Costs in a guest: the numbers that the replay's clock needs for a comparison with it.

Where tasks run beside each other, or beside the device, what happens depends on what the one takes and what the other;
so a replay that is judged by a guest runs at the guest's pace.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
from msgspec.structs import replace
from numpy.typing import NDArray

from swaplab.cache import cached_bytes
from swaplab.errors import UnsupportedError
from swaplab.linux.crypto import Compressor
from swaplab.linux.page import PAGE_SIZE
from swaplab.result import Result
from swaplab.scenario.content import Ratio, Zero
from swaplab.scenario.cost import Cost
from swaplab.scenario.device import Device
from swaplab.scenario.model import Cgroup, Event, Machine, Scenario, Swap, Workload, Zswap
from swaplab.scenario.patterns import Scan
from swaplab.vm.engine import Progress, fingerprint, guest_version, run_on_kernel
from swaplab.vm.guest import LostGuestError
from swaplab.vm.kernel import Kernel, digest
from swaplab.vm.script import refuse

__all__ = ["Pace", "at_pace", "calibration", "guest_pace", "pace_of"]

MIB = 1 << 20
PAGES = 8192
"""Of each cgroup, and accesses of each turn."""
CGROUPS = {
    "compressed": Cgroup(memory_zswap_writeback=False),
    "empty": Cgroup(),
    "device": Cgroup(memory_zswap_max=0),
    "written": Cgroup(),
}
"""Pages go into zswap; nowhere, being zero; to the device; into zswap, from where the shrinker writes some back."""
ROUNDS = 4
OUT = 2
"""Rounds are of a turn for each cgroup: first touches; accesses; accesses, then its pages are reclaimed; they fault."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How fast a machine is.

    Attributes:
        cost: of its processor, for one compressor.
        device: it swaps to.
    """

    cost: Cost
    device: Device


def at_pace(scenario: Scenario, pace: Pace) -> Scenario:
    """Return a scenario on a guest's one processor and its device, which rotates if the scenario's does."""
    device = scenario.swap.device
    if device == "zram":
        return scenario
    device = replace(pace.device, rotational=device.rotational)
    machine, swap = replace(scenario.machine, cpus=1), replace(scenario.swap, device=device)
    return replace(scenario, machine=machine, swap=swap)


def calibration(compressor: Compressor, device: Device, shrinks: bool = True) -> Scenario:
    """Return the scenario whose turns are timed: four cgroups in four rounds, a sample after each turn.

    Args:
        device: that the guest swaps to.
        shrinks: whether the kernel has a shrinker, since Linux 6.8.
    """
    return Scenario(
        name="calibration",
        machine=Machine(memory=256 * MIB),
        zswap=Zswap(enabled=True, compressor=compressor, max_pool_percent=50, shrinker_enabled=shrinks),
        swap=Swap(size=256 * MIB, device=device),
        cgroups=CGROUPS if shrinks else CGROUPS | {"compressed": Cgroup()},
        workloads=tuple(
            Workload(
                cgroup=path,
                pages=PAGES,
                accesses=ROUNDS * PAGES,
                pattern=Scan(),
                content=Zero() if path == "empty" else Ratio(ratio=3.0),
            )
            for path in CGROUPS
        ),
        events=tuple(
            Event(at=(OUT * len(CGROUPS) + i + 1) * PAGES, cgroup=path, reclaim=PAGES * PAGE_SIZE)
            for i, path in enumerate(CGROUPS)
        ),
        interleave=PAGES,
        samples=ROUNDS * len(CGROUPS),
    )


def pace_of(compressor: Compressor, result: Result) -> Pace:
    """Return what the time of each turn says of the guest.

    A turn's time has what it takes to sample in it. Pages on their way out cost what looking at them costs, more than
    once, and more if they are compressed. A writeback costs a decompression and a request of its own, in which counts
    all else that it does. A read that a fault waits for costs a request, and the latency. A write takes as long.

    A kernel before 6.8 writes nothing back here: a request of its is in the latency.

    Raises:
        LostGuestError: nothing was written back, or read.
    """
    guest = result.info.guest
    assert guest is not None  # noqa: S101 - a kernel ran it
    series = result.series()
    first, again, out, back = _by_turn(series["time_ns"])
    looks, stores = (_by_turn(series[name])[OUT] for name in ("pgscan", "zswpout"))
    reads = _by_turn(series["pswpin"])[-1]
    compressed, empty, device, shrunk = range(len(CGROUPS))
    shrinks = series["zswpwb"].null_count == 0
    written = _by_turn(series["zswpwb"])[OUT, shrunk]
    if (shrinks and not written) or not reads[device]:
        raise LostGuestError("it wrote nothing back, or read nothing, so that its pace is not known")
    access = float(again.mean())
    reclaim = (out[empty] - access) / looks[empty]
    beside_reclaim = out - access - looks * reclaim
    compress = beside_reclaim[compressed]
    decompress = back[compressed] - back[empty]
    submit = (beside_reclaim[shrunk] - stores[shrunk] * compress) / written - decompress if shrinks else 0.0
    # Some pages are still in the swap cache when they are wanted again.
    latency = (back[device] - back[empty]) / reads[device] - submit
    return Pace(
        cost=Cost(
            access_ns=_at_least_1(access),
            fault_minor_ns=_at_least_1(first.mean() - access),
            fault_major_ns=_at_least_1(back[empty] - access),
            compress_ns={compressor: _at_least_1(compress)},
            decompress_ns={compressor: _at_least_1(decompress)},
            reclaim_page_ns=_at_least_1(reclaim),
            source=f"a guest with Linux {result.info.release} ({guest.accelerator})",
        ),
        device=Device(
            read_latency_ns=_at_least_1(latency),
            write_latency_ns=_at_least_1(latency),
            read_bandwidth=1 << 40,  # it is all in the latency
            write_bandwidth=1 << 40,
            submit_ns=_at_least_1(submit),
        ),
    )


def _by_turn(series: pa.ChunkedArray) -> NDArray[np.float64]:
    """How much a counter rose in each turn, for each access: float64[rounds, cgroups]."""
    rises: NDArray[np.float64] = np.diff(series.to_numpy().astype(np.float64), prepend=0) / PAGES
    return rises.reshape(ROUNDS, len(CGROUPS))


def _at_least_1(nanoseconds: float) -> int:
    return max(1, round(nanoseconds))


def guest_pace(kernel: Kernel, scenario: Scenario, progress: Progress = lambda _done, _total: None) -> Pace:
    """Measure a guest with a scenario's compressor and device; the result is kept.

    Raises:
        As `swaplab.vm.run_on_kernel`.
    """
    refuse(scenario)
    compressor, device = scenario.zswap.compressor, scenario.swap.device
    assert device != "zram"  # noqa: S101 - refuse() has seen to it
    try:
        return _measured_pace(kernel, compressor, calibration(compressor, device), progress)
    except UnsupportedError:
        return _measured_pace(kernel, compressor, calibration(compressor, device, shrinks=False), progress)


def _measured_pace(kernel: Kernel, compressor: Compressor, scenario: Scenario, progress: Progress) -> Pace:
    def measure() -> bytes:
        (run,) = run_on_kernel([scenario], [kernel], [progress])
        return msgspec.json.encode(pace_of(compressor, run))

    kept = cached_bytes(f"pace-{fingerprint(scenario)}-{guest_version()}-{digest(kernel.image)}.json", measure)
    return msgspec.json.decode(kept, type=Pace)
