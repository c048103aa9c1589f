"""How tasks share a processor."""

from __future__ import annotations

__all__ = ["BASE_SLICE_NS", "TICK_NS"]

BASE_SLICE_NS = 750_000
"""How long a task runs on while another waits (kernel/sched/fair.c:sysctl_sched_base_slice, 6.12, one processor)."""
TICK_NS = 4_000_000
"""Of Debian's kernels: CONFIG_HZ is 250."""
