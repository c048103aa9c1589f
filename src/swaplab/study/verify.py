"""Whether a gain that was predicted is there when it is measured."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from swaplab.linux.page import PAGE_SIZE
from swaplab.result import Result

__all__ = ["Measured", "measured_of"]


class Measured(NamedTuple):
    """The outcome of a run on a real kernel, for the whole machine.

    Attributes:
        memory: bytes that the workloads and the compressed pool hold, in the mean over all samples.
        time: nanoseconds from the first access to the last. A kernel does not count what its tasks lose.
        refaults: pages that came back, from zswap and from the device.
        writes: bytes written to the device.
        killed: workloads that were killed for lack of memory.
    """

    memory: float
    time: int
    refaults: int
    writes: int
    killed: int


def measured_of(result: Result) -> Measured:
    """Return what a run comes to."""
    series, last = result.series(), result.final()
    return Measured(
        memory=float((np.asarray(series["anon"]) + np.asarray(series["pool_total_size"])).mean()),
        time=int(last["time_ns"]),
        refaults=int(last["zswpin"] + last["pswpin"]),
        writes=int(last["pswpout"]) * PAGE_SIZE,
        killed=int(last["memory.events.oom_kill"]),
    )
