"""What this machine can be looked at with: the best there is, and why not better."""

from __future__ import annotations

from pathlib import Path

from swaplab.host.attach.idle_bits import BITMAP, IdleBits
from swaplab.host.attach.watch import AccessedBits, Kernel
from swaplab.host.processes import PROC

__all__ = ["best_method"]


def best_method(bitmap: Path = BITMAP, proc: Path = PROC) -> Kernel:
    """Return idle bits where there are some that this user may use, else accessed bits."""
    try:
        return IdleBits(bitmap, proc)
    except PermissionError:
        reason = "idle page bits take root"
    except OSError:
        reason = "this kernel has no idle page bits (CONFIG_IDLE_PAGE_TRACKING)"
    return AccessedBits(f"accessed bits by mapping, clear_refs and Referenced, as {reason}", proc)
