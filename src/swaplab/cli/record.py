"""``swaplab record``: the exact page trace of a real program."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.progress import Progress, TaskID

from swaplab.cli.common import Flag, console, say_json, tell
from swaplab.host.record import SAMPLE_PAGES, WINDOW, ProcessFootprint, Recording
from swaplab.host.record import record as make_recording
from swaplab.text import shown

__all__ = ["record"]


def record(
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    window: int = WINDOW,
    sample_pages: int = SAMPLE_PAGES,
    duration: float | None = None,
    skip: float = 0.0,
    timed: Flag = False,
    json: Flag = False,
) -> None:
    """Record which pages a program touches, and what they hold. It needs no privileges.

    Example: `swaplab record -o sorting -- sort -S 100M words.txt`

    Parameters
    ----------
    command
        The program and its arguments, behind `--`.
    output
        The directory to make; `PROGRAM.recording` if not given.
    window
        Leave out what repeats one of the last so many accesses recorded of a process.
    sample_pages
        Keep the contents of at most so many pages.
    duration
        End the program after so many seconds.
    skip
        Of the first so many seconds, keep only the first touch and the first write of each page.
    timed
        Run the program once without the recorder before, without input and output, to know what it takes then; else
        that is estimated.
    json
        Print the summary as JSON on standard output, as the line after what the program prints there.
    """
    name = Path(command[0]).name if command else ""
    out = output or Path(f"{name}.recording")
    with _progress() as (running, merging):
        recording = make_recording(
            command,
            out,
            window=window,
            sample_pages=sample_pages,
            duration=duration,
            skip=skip,
            is_timed=timed,
            running=running,
            merging=merging,
        )
    if json:
        say_json(recording)
    else:
        tell(_summary(recording))


NAMED = 5
TOLERANCE = 0.05
LEAST_PAGES = 64

_Running = Callable[[int, float], None]
_Merging = Callable[[str, int, int], None]


_CLEAR = "\r\x1b[K"


@contextmanager
def _progress() -> Iterator[tuple[_Running | None, _Merging | None]]:
    """Yield what to call with progress, on a terminal.

    While the program runs the terminal is its own: one line that is rewritten, and no live display.
    """
    shown_on = console(stderr=True)
    if not shown_on.is_terminal:
        yield None, None
        return
    bars = Progress(console=shown_on, transient=True)
    tasks: dict[str, TaskID] = {}

    def running(accesses: int, seconds: float) -> None:
        shown_on.file.write(f"{_CLEAR}recording: {accesses / 1e6:.0f}M accesses, {seconds:.0f} s")
        shown_on.file.flush()

    def merging(what: str, done: int, total: int) -> None:
        if not tasks:
            shown_on.file.write(_CLEAR)
            bars.start()
        if what not in tasks:
            tasks[what] = bars.add_task(what)
        bars.update(tasks[what], completed=done, total=total)

    try:
        yield running, merging
    finally:
        bars.stop()
        shown_on.file.write(_CLEAR)


def _summary(recording: Recording) -> str:
    share = recording.recorded / max(recording.accesses, 1)
    rate = recording.accesses / 1e6 / max(recording.seconds, 1e-9)
    directory = shlex.quote(recording.directory)
    lines = [
        f"swaplab: recorded {shlex.join(recording.command)} in {directory}",
        f"  accesses   {recording.accesses:,} in {recording.seconds:.1f} s ({rate:.0f} million a second)",
        f"  own time   {_own_time(recording)}",
        f"  recorded   {recording.recorded:,} ({share:.2%}; {recording.file_backed:,} to files are not replayed)",
        f"  pages      {recording.pages:,}, contents of {recording.sampled:,} sampled",
        f"  at most    {_size(recording.peak.anonymous)} anonymous, {_size(recording.peak.shared)} shared at once",
        f"  freed      {_size(recording.freed)}; files read or written: {_size(recording.file_pages)}",
        *_processes(recording),
        *_troubles(recording),
        f"next: swaplab run {directory}/scenario.toml --compare",
    ]
    return "\n".join(lines)


def _own_time(recording: Recording) -> str:
    how = "about, estimated from that with it; --timed measures it" if recording.own_is_about else "measured"
    return f"{recording.own_seconds:.2f} s of processors without the recorder ({how})"


def _size(pages: int) -> str:
    return f"{pages / 256:.1f} MB"


def _processes(recording: Recording) -> list[str]:
    """The processes with most anonymous memory, as recorded and as the kernel counted it at the same moment."""
    lines = [f"  processes  {len(recording.streams):,}; anonymous memory when they had most:"]
    lines += [f"    {'':24}{'recorded':>12}{'the kernel':>12}"]
    for process in recording.processes:
        name = shown(process.stream)[:24]
        lines.append(f"    {name:24}{_size(process.recorded):>12}{_size(process.kernel):>12}{_doubt(process)}")
    return lines


def _doubt(process: ProcessFootprint) -> str:
    is_off = abs(process.recorded - process.kernel) > max(LEAST_PAGES, TOLERANCE * process.kernel)
    return "  <- does not fit: the trace misses accesses, or the machine uses huge pages" if is_off else ""


def _troubles(recording: Recording) -> list[str]:
    lines = [
        f"  not recorded: {shown(foreign.program)}, {foreign.times:,} times ({foreign.reason})"
        for foreign in recording.not_recorded[:NAMED]
    ]
    if len(recording.not_recorded) > NAMED:
        lines.append(f"  not recorded: {len(recording.not_recorded) - NAMED} other programs")
    lines += [f"  valgrind says: {shown(line)}" for line in recording.complaints[:NAMED]]
    if recording.ended_by:
        lines.append(f"  ended by {recording.ended_by}; what was recorded until then is kept")
    if recording.status:
        lines.append(f"  the program {_ending(recording.status)}")
    return lines


def _ending(status: int) -> str:
    return f"exited with status {status}" if status > 0 else f"was ended by {signal.Signals(-status).name}"
