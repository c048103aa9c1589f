"""The compiled simulator: reclaim and zswap over flat arrays."""

from __future__ import annotations

from swaplab.replay import reference as reference  # teaches the compiler what a State is
from swaplab.replay.engine import Prepared, Replay, is_compiled, replay

__all__ = ["Prepared", "Replay", "is_compiled", "replay"]
