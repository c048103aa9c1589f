"""Real Linux: the same scenario on a kernel in QEMU."""

from __future__ import annotations

from swaplab.vm.engine import KernelRun, dry_run, fingerprint, run_on_kernel
from swaplab.vm.guest import LostGuestError
from swaplab.vm.kernel import Kernel, debian_kernel, own_kernel

__all__ = [
    "Kernel",
    "KernelRun",
    "LostGuestError",
    "debian_kernel",
    "dry_run",
    "fingerprint",
    "own_kernel",
    "run_on_kernel",
]
