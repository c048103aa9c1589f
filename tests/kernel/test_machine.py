"""What a user of the machine sees: bytes, limits, counters, refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.model import Action, Model, actions

from swaplab.errors import InputError
from swaplab.kernel.machine import Cgroup, Machine
from swaplab.kernel.protocol import Protocol
from swaplab.kernel.sync import Direct, install
from swaplab.linux.release import MODELLED, Modelled

SYSTEMS: list[tuple[Modelled, Protocol | None]] = [
    ("6.12", None),
    ("6.12", Protocol(list_lru="6.13")),
    ("6.12", Protocol(list_lru="6.13-fixed")),
    ("7.2", None),
]


@pytest.mark.parametrize(("kernel", "protocol"), SYSTEMS)
@given(st.lists(actions, max_size=40), st.booleans())
@settings(max_examples=75)
def test_pages_keep_their_bytes_whatever_happens(
    kernel: Modelled, protocol: Protocol | None, sequence: list[Action], synchronous: bool
) -> None:
    with install(Direct()):
        model = Model(
            Machine(memory=512 << 12, swap_pages=512, synchronous=synchronous, kernel=kernel, protocol=protocol)
        )
        for action in sequence:
            model.attempt(action)
        model.check_all()
        model.machine.validate()


@pytest.fixture(params=MODELLED)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    with install(Direct()):
        yield Machine(memory=64 << 20, swap_pages=1024, kernel=request.param)


def filled(machine: Machine, pages: int, **limits: int) -> Cgroup:
    """A cgroup whose pages compress to about 1500 bytes each."""
    cgroup = machine.cgroup("shop/web", **limits)
    for key in range(pages):
        cgroup.write(key, noise(key, 1500))
    return cgroup


def noise(seed: int, size: int) -> bytes:
    return Random(seed).randbytes(size)  # noqa: S311


def test_a_memcg_whose_limit_is_full_of_compressed_pages_is_out_of_memory(machine: Machine) -> None:
    with pytest.raises(MemoryError, match="shop/web: page"):
        filled(machine, 1000, memory_max=1 << 20)
    machine.validate()
    assert machine.stat()["zswpwb"] == 0


def test_the_shrinker_makes_room_by_writing_back(machine: Machine) -> None:
    machine.zswap.shrinker_enabled = True
    cgroup = filled(machine, 1000, memory_max=1 << 20)
    machine.validate()
    stat = machine.stat()
    assert stat["zswpwb"] == stat["pswpout"] == stat["written_back_pages"] > 0
    assert all(cgroup.read(key).startswith(noise(key, 1500)) for key in range(1000))


def test_the_pool_is_shrunk_to_its_accept_threshold(machine: Machine) -> None:
    machine.zswap.max_pool_percent = 1
    cgroup = filled(machine, 900)
    # Each run of the worker ends with 16 second chances, and every store that is refused starts one.
    for key in range(900):
        cgroup.swap_out(key)
    machine.validate()
    stat = machine.stat()
    assert stat["pool_limit_hit"] > 0
    assert stat["zswpwb"] > 0
    assert stat["pool_total_size"] <= (64 << 20) // 100


def test_entries_of_a_removed_memcg_go_to_its_parent(machine: Machine) -> None:
    cgroup = filled(machine, 300)
    cgroup.reclaim(300 << 12)
    before = machine.cgroup("shop").stat()["zswapped"]
    cgroup.remove()
    machine.validate()
    assert machine.cgroup("shop").stat()["zswapped"] == before > 0
    assert all(cgroup.read(key).startswith(noise(key, 1500)) for key in range(300))
    assert machine.cgroup("shop").stat()["zswapped"] < before
    machine.validate()


def test_a_page_comes_back_for_who_pays_for_its_slot_even_the_root(machine: Machine) -> None:
    """mem_cgroup_swapin_charge_folio, 6.12: the root has an ID, too, and is always online."""
    cgroup = machine.cgroup("a")
    machine.root.write(0, b"page")
    assert machine.root.swap_out(0)
    machine.root.mm.memcg = cgroup.memcg
    assert machine.root.read(0).startswith(b"page")
    assert cgroup.stat()["memory.current"] == 0
    machine.validate()


def test_swapoff_of_shared_pages_that_do_not_fit_fails_and_ends(machine: Machine) -> None:
    """Without a slot to get, reclaim takes no page, not even one that has a slot; else swapoff would go in circles."""
    cgroup, child = filled(machine, 24), machine.cgroup("shop/child")
    cgroup.fork(child, [(key, key) for key in range(24)])
    assert all(cgroup.swap_out(key) for key in range(24))
    cgroup.limit(memory_max=20 << 12)
    with pytest.raises(MemoryError, match="swapoff"):
        machine.swapoff()
    machine.validate()
    assert all(cgroup.read(key) == child.read(key) for key in range(24))


def test_writeback_can_only_be_forbidden_while_zswap_is_enabled(machine: Machine) -> None:
    machine.zswap.enabled = False
    cgroup = filled(machine, 100, zswap_writeback=False)
    assert cgroup.reclaim(100 << 12) > 0
    assert machine.stat()["pswpout"] > 0


def test_writeback_that_is_forbidden_keeps_pages_in_memory(machine: Machine) -> None:
    machine.zswap.max_pool_percent = 0
    cgroup = filled(machine, 100, zswap_writeback=False)
    assert cgroup.reclaim(100 << 12) == 0
    assert machine.stat()["pswpout"] == 0
    cgroup.limit(zswap_writeback=True)
    assert cgroup.reclaim(100 << 12) > 0


def test_a_cgroup_with_children_is_not_removed(machine: Machine) -> None:
    machine.cgroup("a/b")
    with pytest.raises(OSError, match="busy"):
        machine.cgroup("a").remove()


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (lambda: Machine(compressor="zip"), "compressor"),
        (lambda: Machine(memory=-1), "memory"),
        (lambda: Machine().cgroup("a//b"), "path"),
        (lambda: Machine().root.write(0, bytes(4097)), "page 0"),
    ],
)
def test_what_cannot_be_is_refused(wrong: Callable[[], object], expected: str) -> None:
    with install(Direct()), pytest.raises(InputError, match=expected):
        wrong()
