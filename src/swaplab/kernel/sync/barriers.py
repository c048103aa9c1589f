"""Memory barriers: include/asm-generic/barrier.h. No value that is read here depends on them, but data races do."""

from __future__ import annotations

from swaplab.kernel.sync.runtime import current

__all__ = ["smp_mb", "smp_rmb", "smp_wmb"]


def smp_mb() -> None:
    """Have everything before it come before everything after it, in everybody's eyes."""
    current.runtime.barrier("smp_mb")


def smp_rmb() -> None:
    """Have loads before it come before loads after it."""
    current.runtime.barrier("smp_rmb")


def smp_wmb() -> None:
    """Have stores before it come before stores after it."""
    current.runtime.barrier("smp_wmb")
