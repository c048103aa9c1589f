"""``swaplab record``: the exact page trace of a real program, or what sampling tells of one that runs already."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.progress import Progress, TaskID

from swaplab.cli.common import Flag, bars, console, parse_seconds, say_json, show, tell
from swaplab.errors import InputError
from swaplab.host.attach.recording import attach
from swaplab.host.attach.targets import Target, of_cgroup, of_pid, of_unit
from swaplab.host.record import SAMPLE_PAGES, WINDOW, ProcessFootprint, Recording
from swaplab.host.record import record as make_recording
from swaplab.report.attach import attach_report
from swaplab.text import shown

__all__ = ["record"]


def record(
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    pid: int | None = None,
    cgroup: str | None = None,
    unit: str | None = None,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    duration: str | None = None,
    sample_pages: int = SAMPLE_PAGES,
    window: int | None = None,
    skip: float = 0.0,
    timed: Flag = False,
    seed: int | None = None,
    json: Flag = False,
) -> None:
    """Record which pages a program touches, and what they hold; or attach to running processes. It needs no privileges.

    Example: `swaplab record -o sorting -- sort -S 100M words.txt`, or `swaplab record --unit redis --duration 10m`

    Parameters
    ----------
    command
        The program and its arguments, after `--`.
    pid
        Attach to this process instead.
    cgroup
        Attach to all processes in this cgroup and below it.
    unit
        Attach to all processes of this unit of systemd.
    output
        The directory to make; `PROGRAM.recording` if not given.
    duration
        End the program after this time: `90`, `90s`, `10m`, `1h`. With running processes, end the recording (10m).
    sample_pages
        Keep the contents of at most this number of pages.
    window
        Leave out an access that repeats one of the last recorded accesses of its process; this is their number (64).
    skip
        For this number of seconds, keep only the first touch and the first write of each page.
    timed
        First run the program once without the recorder, without input and output, to measure its time; by default
        that time is an estimate.
    seed
        With running processes: draw other accesses with the same reuse times (0).
    json
        Print the summary as JSON on standard output, as a line after the output of the program.
    """
    seconds = None if duration is None else parse_seconds(duration, "--duration")
    target = _target(command, pid, cgroup, unit)
    if target:
        _refuse({"--window": window, "--skip": skip, "--timed": timed}, "a program to start, behind --")
        _attach(target, output, ATTACH_SECONDS if seconds is None else seconds, sample_pages, seed or 0, json)
        return
    _refuse({"--seed": seed is not None}, "--pid, --cgroup or --unit with it")
    name = Path(command[0]).name if command else ""
    out = output or Path(f"{name}.recording")
    with _progress() as (running, merging):
        recording = make_recording(
            command,
            out,
            window=WINDOW if window is None else window,
            sample_pages=sample_pages,
            duration=seconds,
            skip=skip,
            is_timed=timed,
            running=running,
            merging=merging,
        )
    if json:
        say_json(recording)
    else:
        tell(_summary(recording))


def _target(command: tuple[str, ...], pid: int | None, cgroup: str | None, unit: str | None) -> Target | None:
    """Return what runs already and is to be recorded; none if a program is to be started."""
    given = {"--pid": pid is not None, "--cgroup": cgroup is not None, "--unit": unit is not None, "--": bool(command)}
    names = [name for name, is_given in given.items() if is_given]
    if len(names) > 1:
        raise InputError("record", "one of --pid PID, --cgroup PATH, --unit NAME and -- COMMAND", " and ".join(names))
    if pid is not None:
        return of_pid(pid)
    if cgroup is not None:
        return of_cgroup(cgroup)
    return None if unit is None else of_unit(unit)


def _refuse(options: Mapping[str, object], expected: str) -> None:
    for name, value in options.items():
        if value:
            raise InputError(name, expected, "none")


def _attach(target: Target, output: Path | None, seconds: float, sample_pages: int, seed: int, json: bool) -> None:
    with bars() as bar:
        looking, writing = bar(f"looking at {shown(target.name)}"), bar("writing the trace")
        recording = attach(
            target.name,
            target.choose,
            output or Path(f"{target.name.replace('/', '_')}.recording"),
            seconds=seconds,
            seed=seed,
            sample_pages=sample_pages,
            told=lambda passed, samples: looking(round(passed), round(seconds)),
            writing=writing,
        )
    say_json(recording) if json else show(attach_report(recording))


ATTACH_SECONDS = 600.0
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
