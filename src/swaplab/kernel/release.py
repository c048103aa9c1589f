"""What the releases are put together from: one object of each kind, chosen when a machine is made."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from swaplab.kernel import swap_fault_72, swap_fault_612, zswap, zswap_72
from swaplab.kernel.protocol import LINUX_7_2, Protocol
from swaplab.kernel.swap_state import SwapInfo612
from swaplab.kernel.swap_table import SwapInfo72
from swaplab.kernel.swapfile import SwapCalls
from swaplab.linux.release import Modelled

__all__ = ["PARTS", "Parts"]


class Parts(NamedTuple):
    """What a machine of a release is made of.

    Attributes:
        protocol: of memcgs, their lists and their end.
        calls: on the way out to swap and back.
        lacks: numbers that the release does not show.
    """

    protocol: Protocol
    calls: SwapCalls
    lacks: frozenset[str]


PARTS: Mapping[Modelled, Parts] = MappingProxyType(
    {
        "6.12": Parts(
            Protocol(),
            SwapCalls(
                SwapInfo612,
                zswap.zswap_store,
                zswap.zswap_load,
                zswap.zswap_writeback_entry,
                swap_fault_612.do_swap_page,
            ),
            frozenset({"zswap_incomp", "stored_incompressible_pages", "decompress_fail"}),
        ),
        "7.2": Parts(
            LINUX_7_2,
            SwapCalls(
                SwapInfo72,
                zswap_72.zswap_store,
                zswap_72.zswap_load,
                zswap_72.zswap_writeback_entry,
                swap_fault_72.do_swap_page,
            ),
            frozenset(),
        ),
    }
)
