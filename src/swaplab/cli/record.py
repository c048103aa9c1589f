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
from swaplab.host.record import SAMPLE_PAGES, WINDOW, Recording
from swaplab.host.record import record as make_recording
from swaplab.scenario.units import round_size

__all__ = ["record"]


def record(
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    window: int = WINDOW,
    sample_pages: int = SAMPLE_PAGES,
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
        Leave out what repeats one of the last so many accesses recorded of a thread.
    sample_pages
        Keep the contents of at most so many pages.
    json
        Print the summary as JSON on standard output, as the line after what the program prints there.
    """
    name = Path(command[0]).name if command else ""
    out = output or Path(f"{name}.recording")
    with _progress() as (running, merging):
        recording = make_recording(
            command, out, window=window, sample_pages=sample_pages, running=running, merging=merging
        )
    if json:
        say_json(recording)
    else:
        tell(_summary(recording))


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
    size = round_size(recording.pages * 4096)
    directory = shlex.quote(recording.directory)
    lines = [
        f"swaplab: recorded {shlex.join(recording.command)} in {directory}",
        f"  accesses   {recording.accesses:,} in {recording.seconds:.1f} s ({rate:.0f} million a second)",
        f"  recorded   {recording.recorded:,} ({share:.2%}; {recording.file_backed:,} to files left out)",
        f"  pages      {recording.pages:,} ({size}), contents of {recording.sampled:,} sampled",
        f"  processes  {len(recording.streams):,}",
    ]
    if recording.unfollowed:
        lines.append(f"  not recorded: {recording.unfollowed:,} programs that the emulator cannot run")
    if recording.status:
        lines.append(f"  the program {_ending(recording.status)}")
    return "\n".join([*lines, f"next: swaplab run {directory}/scenario.toml --compare"])


def _ending(status: int) -> str:
    return f"exited with status {status}" if status > 0 else f"was ended by {signal.Signals(-status).name}"
