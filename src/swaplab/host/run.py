"""Runs a program and all that it makes, to their end."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from swaplab.errors import SwaplabError

__all__ = ["Running", "running"]

_SUPERVISE: Final = Path(__file__).with_name("supervise.py")


class Ending(NamedTuple):
    """How a program ended.

    Attributes:
        status: its own, negative if a signal ended it.
        seconds: processor time of all its processes.
    """

    status: int
    seconds: float


class Running:
    """A program that runs under ``supervise.py``; see `running`."""

    def __init__(self, orders: int, reports: int) -> None:
        self._orders, self._reports = orders, reports

    def wait(self, seconds: float | None) -> Ending | None:
        """Return how the program ended once nothing of it is left; None if it is there after so many seconds.

        Raises:
            SwaplabError: it cannot be told, since its supervisor was killed.
        """
        ready, _, _ = select.select([self._reports], [], [], seconds)
        if not ready:
            return None
        report = os.read(self._reports, 64)
        if not report:
            raise SwaplabError("the program could not be run to its end: who watched over it was killed")
        status, used = report.split()
        return Ending(int(status), float(used))

    def end(self) -> None:
        """Ask all processes to end; kill them if they are asked again, or take ten seconds."""
        with suppress(BrokenPipeError):
            os.write(self._orders, b"e")


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str] | None, descriptors: Sequence[int], is_mute: bool = False
) -> Iterator[Running]:
    """Run a command, whose processes have no standard streams but ours and `descriptors`; kill what is left in the end.

    If this process ends in any way, they end too.

    Args:
        is_mute: whether it reads nothing and prints nowhere instead.
    """
    end, orders = os.pipe()
    reports, report = os.pipe()
    passed = ",".join(map(str, descriptors))
    supervisor = [sys.executable, "-IS", str(_SUPERVISE), str(end), str(report), passed, *command]
    streams = subprocess.DEVNULL if is_mute else None
    try:
        process = subprocess.Popen(  # noqa: S603
            supervisor,
            env=environment,
            stdin=streams,
            stdout=streams,
            stderr=streams,
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
