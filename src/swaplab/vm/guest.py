"""One guest, from its start to its last report. A guest that is lost is an error, never a result."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from swaplab.errors import SwaplabError
from swaplab.process import with_parent
from swaplab.text import shown

__all__ = ["SILENCE_SECONDS", "LostGuestError", "Report", "listen"]

Report = dict[str, Any]

SILENCE_SECONDS = 300.0
LINE_MAX = 1 << 27
CONSOLE_MAX = 1 << 16
CONSOLE_LINES = 60


class LostGuestError(SwaplabError):
    """A guest that panicked, hung, failed or said what cannot be: why, and the end of its console."""

    def __init__(self, why: str, console: str = "") -> None:
        lines = [shown(line.strip("\r")) for line in console.split("\n")]
        lines = [line for line in lines if line.strip()][-CONSOLE_LINES:]
        self.why = why
        end = "\n  ".join(["; its console ends:", *lines]) if lines else "; its console is empty"
        super().__init__(f"the guest was lost: {shown(why)}{end}")


async def listen(command: Sequence[str], heard: Callable[[Report], None], silence: float = SILENCE_SECONDS) -> None:
    """Start a guest, and hand on each of its reports until the last, ``done``.

    Args:
        heard: called with every report, in order. What it raises ends the guest.
        silence: seconds without any new report that a guest is given.

    Raises:
        LostGuestError: it ended, failed or fell silent before it was done, or its reports make no sense.
        OSError: it cannot be started.
    """
    console = bytearray()
    async with _started(command, console) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            return await _listen(process.stdout, heard, silence)
        except LostGuestError as error:
            why = error.why
    raise LostGuestError(why, console.decode(errors="replace"))


async def _listen(stream: asyncio.StreamReader, heard: Callable[[Report], None], silence: float) -> None:
    clock = asyncio.get_running_loop().time
    last, deadline = b"", clock() + silence
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                line = await stream.readline()
        except TimeoutError:
            raise LostGuestError(f"nothing new came from it for {silence:g} seconds") from None
        except ValueError:
            raise LostGuestError(f"a report is longer than {LINE_MAX} bytes") from None
        # One that says again how far it is has not moved.
        if line != last:
            last, deadline = line, clock() + silence
        report = _decode(line)
        heard(report)
        if "done" in report:
            return


def _decode(line: bytes) -> Report:
    if not line:
        raise LostGuestError("it ended before it was done")
    try:
        report = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        report = None
    if not isinstance(report, dict) or not line.endswith(b"\n"):
        raise LostGuestError(f"it reported {line[:200]!r}")
    if "error" in report:
        raise LostGuestError(str(report["error"]))
    return report


@asynccontextmanager
async def _started(command: Sequence[str], console: bytearray) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a process, keep the end of what it writes to standard error, and kill it and its children in any case."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LINE_MAX,
        start_new_session=True,
        preexec_fn=with_parent(),
    )
    assert process.stderr is not None  # noqa: S101 - it is a pipe
    reader = asyncio.create_task(_keep(process.stderr, console))
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await reader


async def _keep(stream: asyncio.StreamReader, console: bytearray) -> None:
    while data := await stream.read(CONSOLE_MAX):
        console += data
        del console[:-CONSOLE_MAX]
