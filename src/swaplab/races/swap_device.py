"""A swap device that can go, as far as races with swapoff need one."""

from __future__ import annotations

from typing import Final, cast

from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    PercpuRef,
    Shared,
    SpinLock,
    kfree,
    relax,
    synchronize_rcu,
)
from swaplab.races.slots import SWAP_HAS_CACHE

__all__ = ["SwapDevice", "SwapMap", "get_swap_device", "put_swap_device", "reclaim_cache", "swapoff_empty"]


class SwapMap(Shared):
    """What a device knows of its only slot.

    Attributes:
        byte: how many page tables name it, and SWAP_HAS_CACHE.
    """

    name: Final[str]
    byte: int

    def __init__(self, name: str, byte: int) -> None:
        self.name = f"{name}.map"
        self.byte = byte


class SwapDevice(Shared):
    """struct swap_info_struct, which is never freed, unlike its swap_map.

    Attributes:
        swap_map: null once the device is off.
        is_idle: the completion that the end of `users` is.
    """

    name: Final[str]
    swap_map: SwapMap
    is_idle: bool

    def __init__(self, name: str, byte: int) -> None:
        self.name = name
        self.swap_map = SwapMap(name, byte)
        self.is_idle = False
        self.lock = SpinLock(self, "lock")
        self.users = PercpuRef(self, "users", self.complete)

    def complete(self) -> None:
        """mm/swapfile.c:swap_users_ref_free, 6.12."""
        WRITE_ONCE(self).is_idle = True


def get_swap_device(si: SwapDevice) -> bool:
    """mm/swapfile.c:get_swap_device, 6.12: keep swapoff from ending, unless it is too late for that."""
    return si.users.tryget_live()


def put_swap_device(si: SwapDevice) -> None:
    """include/linux/swap.h:put_swap_device, 6.12."""
    si.users.put()


def reclaim_cache(si: SwapDevice, swap_map: SwapMap) -> bool:
    """mm/swapfile.c:__try_to_reclaim_swap, 6.12: free a slot that only the cache uses; return whether it is free."""
    with si.lock:
        if READ_ONCE(swap_map).byte == SWAP_HAS_CACHE:
            WRITE_ONCE(swap_map).byte = 0
        return not READ_ONCE(swap_map).byte


def swapoff_empty(si: SwapDevice) -> None:
    """mm/swapfile.c:swapoff, 6.12, from where no slot is in use."""
    si.users.kill()
    synchronize_rcu()
    while not READ_ONCE(si).is_idle:
        relax()
    swap_map = READ_ONCE(si).swap_map
    WRITE_ONCE(si).swap_map = cast(SwapMap, None)
    kfree(swap_map)
