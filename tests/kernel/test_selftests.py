"""The cases of tools/testing/selftests/cgroup/test_zswap.c, 6.12 and 7.2, by the names that they have there.

Sizes of more than 10M are a quarter of the original's, with their limits. `test_no_kmem_bypass` presses on the root, as
there is no kswapd.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from swaplab.kernel.machine import Cgroup, Machine
from swaplab.kernel.sync import Direct, install
from swaplab.linux.release import MODELLED

ONE_BYTE = b"a"
HALF = bytes(i % 256 for i in range(2048))
PAGES = 1024
"""Of 4M."""


@pytest.fixture(params=MODELLED)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    with install(Direct()):
        machine = Machine(memory=64 << 20, swap_pages=16 << 10, compressor="lzo", kernel=request.param)
        yield machine
        machine.validate()


def allocate(cgroup: Cgroup, pages: int, data: bytes) -> None:
    for key in range(pages):
        cgroup.write(key, data)


def read_back(cgroup: Cgroup, pages: int, data: bytes) -> None:
    for key in range(pages):
        assert cgroup.read(key) == data.ljust(4096, b"\0")


def test_zswap_usage(machine: Machine) -> None:
    group = machine.cgroup("no_shrink_test", memory_max=1 << 20)
    allocate(group, PAGES, ONE_BYTE)
    assert group.stat()["zswpout"] > 0


def test_swapin_nozswap(machine: Machine) -> None:
    group = machine.cgroup("no_zswap_test", memory_max=2 << 20, zswap_max=0)
    allocate(group, 2 * PAGES, ONE_BYTE)
    assert machine.stat()["pswpout"] >= (6 << 20) // 4096
    read_back(group, 2 * PAGES, ONE_BYTE)
    assert group.stat()["zswpout"] == 0


def test_zswapin(machine: Machine) -> None:
    group = machine.cgroup("zswapin_test", memory_max=2 << 20)
    allocate(group, 2 * PAGES, ONE_BYTE)
    read_back(group, 2 * PAGES, ONE_BYTE)
    assert group.stat()["zswpin"] >= (6 << 20) // 4096


@pytest.mark.parametrize("path", ["zswap_writeback_test", "zswap_writeback_test/zswap_writeback_test_child"])
@pytest.mark.parametrize("enabled", [True, False], ids=["enabled", "disabled"])
def test_zswap_writeback(machine: Machine, path: str, enabled: bool) -> None:
    machine.cgroup("zswap_writeback_test", zswap_writeback=enabled)
    group = machine.cgroup(path)
    if path.endswith("child"):
        group.limit(zswap_writeback=True)
    allocate(group, PAGES, HALF)
    assert group.reclaim(4 << 20) >= 4 << 20
    assert group.stat()["zswpwb"] == 0
    usage = group.stat()["zswap"]
    read_back(group, PAGES, HALF)
    group.limit(zswap_max=usage // 2)
    assert (group.reclaim(4 << 20) >= 4 << 20) is enabled
    assert (group.stat()["zswpwb"] > 0) is enabled


def test_no_invasive_cgroup_shrink(machine: Machine) -> None:
    writeback = machine.cgroup("per_memcg_wb_test1", memory_max=1 << 20, zswap_max=10 << 10)
    control = machine.cgroup("per_memcg_wb_test2", memory_max=1 << 20)
    allocate(control, 5 * PAGES // 2, ONE_BYTE)
    assert control.stat()["zswapped"] > 0
    allocate(writeback, 5 * PAGES // 2, ONE_BYTE)
    assert writeback.stat()["zswpwb"] > 0
    assert control.stat()["zswpwb"] == 0


def test_zswap_incompressible(machine: Machine) -> None:
    """Since 7.2; in 6.12 the device has them."""
    group = machine.cgroup("zswap_incompressible", memory_max=32 << 20)
    random = Random(0)  # noqa: S311
    for key in range(PAGES):
        group.write(key, random.randbytes(4096))
        assert group.swap_out(key)
    if "zswap_incomp" in group.stat():
        assert group.stat()["zswap_incomp"] == group.stat()["zswapped"] == PAGES * 4096
        assert machine.stat()["pswpout"] == machine.stat()["reject_compress_fail"] == 0
    else:
        assert machine.stat()["pswpout"] == machine.stat()["reject_compress_fail"] == PAGES


def test_no_kmem_bypass(machine: Machine) -> None:
    group = machine.cgroup("kmem_bypass_test")
    allocate(group, 4 * PAGES, ONE_BYTE)
    machine.root.reclaim(15 << 20)
    stored = machine.stat()["stored_pages"]
    assert stored > (64 << 20) // 5 // 4096
    assert stored * 4096 - group.stat()["zswapped"] < stored * 4096 // 4
