"""What the clock says: every kind of access costs what the cost model says, once."""

from __future__ import annotations

from collections.abc import Callable

from tests.replay.lab import Lab

from swaplab.scenario.content import Random, Zero
from swaplab.scenario.cost import DEFAULT_COST
from swaplab.scenario.device import DEVICES

COST, DEVICE = DEFAULT_COST, DEVICES["nvme"]
PAGE_READ = 4096 * 10**9 // DEVICE.read_bandwidth


def spent(lab: Lab, action: Callable[[], None]) -> int:
    before = int(lab.machine.task.clock)
    action()
    return int(lab.machine.task.clock) - before


def test_a_first_touch_is_a_minor_fault() -> None:
    lab = Lab()
    assert spent(lab, lambda: lab.touch([0])) == COST.fault_minor_ns + COST.access_ns
    assert lab.count("fault_ns") == 0, "it costs as much with memory to spare"
    assert spent(lab, lambda: lab.touch([0, 0])) == 2 * COST.access_ns


def test_a_load_from_zswap_is_a_major_fault_and_a_decompression() -> None:
    lab = Lab()
    lab.touch([0])
    lab.reclaim(1)
    took = spent(lab, lambda: lab.touch([0]))
    assert took == COST.fault_major_ns + COST.decompress_ns["lzo"] + COST.access_ns
    assert (lab.count("fault_ns"), lab.count("decompress_ns")) == (COST.fault_major_ns, COST.decompress_ns["lzo"])


def test_a_zero_filled_page_is_a_major_fault_alone() -> None:
    lab = Lab(content=Zero())
    lab.touch([0])
    lab.reclaim(1)
    assert spent(lab, lambda: lab.touch([0])) == COST.fault_major_ns + COST.access_ns


def test_a_read_from_the_device_takes_processor_transfer_and_latency() -> None:
    lab = Lab(content=Random(), memory_zswap_max=0)
    lab.touch([0])
    lab.reclaim(1)
    lab.reclaim(1)
    device = DEVICE.submit_ns + PAGE_READ + DEVICE.read_latency_ns
    before = lab.count("device_ns")
    assert spent(lab, lambda: lab.touch([0])) == COST.fault_major_ns + device + COST.access_ns
    assert lab.count("device_ns") - before == device


def test_a_write_to_the_device_takes_the_processor_only() -> None:
    lab = Lab(content=Random(), memory_zswap_max=0)
    lab.touch([0])
    lab.reclaim(1)
    assert lab.count("pswpout") == 1
    assert lab.count("device_ns") == DEVICE.submit_ns
