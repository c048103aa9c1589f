"""Real Linux: the same scenario on a kernel in QEMU."""

from __future__ import annotations

from swaplab.vm.calibrate import Pace, at_pace, guest_pace
from swaplab.vm.engine import dry_run, fingerprint, guest_version, run_on_kernel
from swaplab.vm.guest import LostGuestError
from swaplab.vm.kernel import Kernel, debian_kernel, digest, find_kernels, own_kernel

__all__ = [
    "Kernel",
    "LostGuestError",
    "Pace",
    "at_pace",
    "debian_kernel",
    "digest",
    "dry_run",
    "find_kernels",
    "fingerprint",
    "guest_pace",
    "guest_version",
    "own_kernel",
    "run_on_kernel",
]
