"""The disk that a scenario's files are on, and what else its guest takes for them."""

from __future__ import annotations

import numpy as np

from swaplab.errors import UnsupportedError
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.model import Scenario
from swaplab.vm.ext4 import EXTENTS_MAX, Disk, make_disk

__all__ = ["FILE_SYSTEM", "disk_of"]

FILE_SYSTEM = ("crc32c_generic", "ext4")
"""Modules: ext4 looks for the first by the name of what it computes."""


def disk_of(scenario: Scenario, accesses: Accesses) -> Disk | None:
    """Return the disk with the file of each task that reads one, in the tasks' order; None if there is none.

    A file is called as its task's number and its advice (`files.c`).

    Raises:
        UnsupportedError: a file is too large for the disk.
    """
    tasks = np.flatnonzero(accesses.task_file).tolist()
    if not tasks:
        return None
    owners = [int(accesses.task_workload[task]) for task in tasks]
    pages = np.diff(accesses.task_first)[tasks].tolist()
    names = [f"{task}.{scenario.workloads[i].advice}" for task, i in zip(tasks, owners, strict=True)]
    disk = make_disk(list(zip(names, pages, strict=True)))
    for i, extents in zip(owners, disk.files, strict=True):
        if len(extents) > EXTENTS_MAX:
            where, found = f"{scenario.source}: workload[{i}].pages", scenario.workloads[i].pages
            raise UnsupportedError(
                f"{where}: the guest's files are in at most {EXTENTS_MAX} extents, found {found} pages"
            )
    return disk
