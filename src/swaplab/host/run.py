"""Runs a program and all that it makes, to their end."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from swaplab.errors import SwaplabError

__all__ = ["Running", "running"]

_SUPERVISE: Final = Path(__file__).with_name("supervise.py")


class Running:
    """A program that runs under ``supervise.py``; see `running`."""

    def __init__(self, orders: int, reports: int) -> None:
        self._orders, self._reports = orders, reports

    def wait(self, seconds: float) -> int | None:
        """Return the program's status once nothing of it is left, negative if a signal ended it; else None.

        Raises:
            SwaplabError: it cannot be told, since its supervisor was killed.
        """
        ready, _, _ = select.select([self._reports], [], [], seconds)
        if not ready:
            return None
        report = os.read(self._reports, 64)
        if not report:
            raise SwaplabError("the program could not be run to its end: who watched over it was killed")
        return int(report)

    def end(self) -> None:
        """Ask all processes to end; kill them if they are asked again, or take ten seconds."""
        with suppress(BrokenPipeError):
            os.write(self._orders, b"e")


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str] | None, descriptors: Sequence[int]
) -> Iterator[Running]:
    """Run a command, whose processes have no standard streams but ours and `descriptors`; kill what is left in the end.

    Whatever ends this process ends them, too.
    """
    end, orders = os.pipe()
    reports, report = os.pipe()
    passed = ",".join(map(str, descriptors))
    supervisor = [sys.executable, "-IS", str(_SUPERVISE), str(end), str(report), passed, *command]
    try:
        process = subprocess.Popen(  # noqa: S603
            supervisor,
            env=environment,
            pass_fds=[end, report, *descriptors],
            preexec_fn=None,  # it sees that we have ended, and then has others to end
        )
    finally:
        os.close(end)
        os.close(report)
    with process:
        try:
            yield Running(orders, reports)
        finally:
            os.close(orders)
            os.close(reports)
