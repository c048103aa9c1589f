"""Record the exact page trace of a real program, without privileges.

The program runs under valgrind with a tool of ours (``valgrind/pages.c``), which sees every load and store, and what is
mapped, freed, shared and forked. `raw` puts what it wrote in order, `history` says what it means. The recording is a
directory: a trace, a profile of what the pages hold, and a scenario that replays both.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Final, NamedTuple

import msgspec

from swaplab.errors import InputError, SwaplabError
from swaplab.files import check_new_directory, scratch_directory, write_whole, write_whole_directory
from swaplab.host import raw
from swaplab.host.footprint import Footprint, footprint
from swaplab.host.history import History
from swaplab.host.program import check_program
from swaplab.host.run import Ending
from swaplab.host.run import running as start
from swaplab.host.sample import choose
from swaplab.host.settings import machine_settings
from swaplab.host.starter import scenario_text
from swaplab.host.tool import TOOL, find_tool, find_valgrind
from swaplab.linux.page import PAGE_SIZE
from swaplab.process import guarded
from swaplab.scenario.content import write_profile
from swaplab.scenario.model import OwnTime
from swaplab.scenario.trace import RawTraceWriter, Trace, TraceInfo

__all__ = ["SAMPLE_PAGES", "WINDOW", "NotRecorded", "ProcessFootprint", "Recording", "record"]

WINDOW: Final = 64
SAMPLE_PAGES: Final = 1024
WINDOW_MAX: Final = 1 << 12  # RING of pages.c
SAMPLE_PAGES_MAX: Final = 1 << 16  # 256 MB of contents
SECONDS_MAX: Final = 10 * 365 * 86400.0
POLL_SECONDS: Final = 0.2
SLOWDOWN: Final = 12
"""By the recorder, in the median of what docs/internals/recorder.md lists; most programs are within twice of that."""
PROCESSES_TOLD: Final = 8
COMPLAINTS_TOLD: Final = 20

_NOT_SEEN: Final = (
    "instruction fetches",
    "loads whose value is not used",
    "accesses of system calls that valgrind does not know, of io_uring and of devices",
)
_REASONS: Final = {
    1: "not for x86-64",
    2: "would change its rights",
    3: "may not be read",
    4: "valgrind cannot be reached there",
}


class NotRecorded(msgspec.Struct):
    """Programs that ran unrecorded: `program`, why, and how often it was executed."""

    program: str
    reason: str
    times: int


class ProcessFootprint(msgspec.Struct):
    """The most anonymous memory of one process: pages by the recording and by the kernel, at one moment."""

    stream: str
    recorded: int
    kernel: int


class Recording(msgspec.Struct):
    """The summary of a recording.

    Attributes:
        directory: where the recording is.
        command: the command line.
        status: exit status of the program, negative if a signal ended it.
        ended_by: the cause if it was ended early, "SIGTERM" or "--duration"; else "".
        seconds: wall clock time until all its processes had ended.
        own_seconds: processor time that they take without the recorder.
        own_is_about: whether that is an estimate: a `SLOWDOWN`th of what they took with it.
        accesses: loads and stores that they made.
        recorded: accesses of the trace.
        file_backed: accesses that the window let through, but that touched memory which files back.
        pages: pages of the trace, of all streams.
        peak: the most that there was at once.
        freed: pages that were freed by processes that went on.
        file_pages: pages of files that were read or written.
        sampled: pages whose contents are in the profile.
        streams: one for each process and each shared memory.
        processes: the most of each, those with most first; `PROCESSES_TOLD` of them.
        not_recorded: programs that ran unrecorded.
        complaints: messages of valgrind, if any.
    """

    directory: str
    command: list[str]
    status: int
    ended_by: str
    seconds: float
    own_seconds: float
    own_is_about: bool
    accesses: int
    recorded: int
    file_backed: int
    pages: int
    peak: Footprint
    freed: int
    file_pages: int
    sampled: int
    streams: list[str]
    processes: list[ProcessFootprint]
    not_recorded: list[NotRecorded]
    complaints: list[str]


class _Options(NamedTuple):
    window: int
    sample_pages: int
    duration: float | None
    skip: float
    is_timed: bool


class _Run(NamedTuple):
    """A program that has ended: where the recorder wrote, what it was asked for, and how it went."""

    raw: Path
    command: list[str]
    options: _Options
    ended_by: str
    seconds: float
    ending: Ending
    own_seconds: float | None

    @property
    def own_time(self) -> OwnTime:
        """Its processor time without the recorder."""
        own = self.ending.seconds / SLOWDOWN if self.own_seconds is None else self.own_seconds
        return OwnTime(max(1, round(own * 1e9)), self.own_seconds is None)


def record(
    command: Sequence[str],
    out: Path,
    *,
    window: int = WINDOW,
    sample_pages: int = SAMPLE_PAGES,
    duration: float | None = None,
    skip: float = 0.0,
    is_timed: bool = False,
    environment: Mapping[str, str] | None = None,
    running: Callable[[int, float], None] | None = None,
    merging: Callable[[str, int, int], None] | None = None,
) -> Recording:
    """Run `command` until it and all that it makes have ended, and write what they did to the new directory `out`.

    SIGTERM, SIGHUP and, where no terminal sends it to the program too, SIGINT end it; what was recorded is kept.

    Args:
        command: program and arguments; its standard streams are ours.
        out: directory to make, whole or not at all.
        window: an access is left out if it repeats one of the last so many that were recorded of its process.
        sample_pages: pages whose contents to keep, at most.
        duration: seconds after which the program is ended.
        skip: seconds at the start, of which only the first touch and the first write of each page are kept.
        is_timed: whether to run it without the recorder first, with nothing to read and its output thrown away, for the
            processor time that it takes; else that is estimated.
        environment: of the program, ours by default.
        running: told accesses so far and seconds, several times a second.
        merging: told what is being done, how much of it is done and how much there is.

    Raises:
        InputError: `command` names no program that can be recorded.
        SwaplabError: valgrind or a compiler is missing, or the program did not start.
        OSError: `out` exists, or cannot be written, or its disk is full.
    """
    options = _Options(window, sample_pages, duration, skip, is_timed)
    _check_options(options)
    check_new_directory(out)
    check_program(command)
    valgrind = find_valgrind()
    tool = find_tool(valgrind)
    with (
        write_whole_directory(out) as partial,
        scratch_directory(out.parent.absolute()) as scratch,
        guarded(_removal(partial, scratch)),
    ):
        directory = _raw_directory(scratch, tool)
        own_seconds = _timed(command, environment) if is_timed else None
        run = _run(valgrind.launcher, command, directory, options, environment, running)
        run = run._replace(own_seconds=own_seconds)
        _check_run(run, out)
        return _write(run, partial, out, merging)


def _removal(*directories: Path) -> Callable[[], None]:
    """Return what leaves nothing of some directories if we are killed."""

    def remove() -> None:
        for directory in directories:
            shutil.rmtree(directory, ignore_errors=True)

    return remove


def _check_options(options: _Options) -> None:
    _check_range("window", options.window, WINDOW_MAX)
    _check_range("sample pages", options.sample_pages, SAMPLE_PAGES_MAX)
    _check_range("skip", options.skip, SECONDS_MAX)
    _check_range("duration", options.duration or 0.0, SECONDS_MAX)
    if options.is_timed and (options.skip or options.duration is not None):
        raise InputError("--timed", "all of the program recorded, so no --skip and no --duration", "one of them")


def _timed(command: Sequence[str], environment: Mapping[str, str] | None) -> float:
    with start(command, environment, [], is_mute=True) as program:
        ending = program.wait(None)
    return ending.seconds if ending else 0.0


def _check_range(what: str, value: float, limit: float) -> None:
    if not 0 <= value <= limit:
        raise InputError(what, f"a number from 0 to {limit}", value)


def _raw_directory(scratch: Path, tool: Path) -> Path:
    """Make the directory that the recorder writes to. Recorded processes may write there as any user."""
    directory = scratch / "raw"
    directory.mkdir()
    directory.chmod(0o1777)
    shutil.copy(tool, directory / TOOL)
    (directory / TOOL).chmod(0o755)
    for name, size in (("counters", PAGE_SIZE), ("log", 0)):
        (directory / name).write_bytes(bytes(size))
        (directory / name).chmod(0o666)
    return directory


def _run(
    launcher: Path,
    command: Sequence[str],
    directory: Path,
    options: _Options,
    environment: Mapping[str, str] | None,
    told: Callable[[int, float], None] | None,
) -> _Run:
    began = monotonic()
    here = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    log = os.open(directory / "log", os.O_WRONLY | os.O_APPEND)
    own = [
        "-q",
        "--command-line-only=yes",
        "--tool=pages",
        "--trace-children=yes",
        "--vgdb=no",
        f"--log-fd={log}",
        "--exe=",
    ]
    own += ["--vex-guest-chase=no"]  # less to translate, which is most of what a short program costs
    own += ["--sigill-diagnostics=yes", f"--window={options.window}", f"--samples={options.sample_pages}"]
    variables = {**(os.environ if environment is None else environment), "VALGRIND_LIB": f"/proc/self/fd/{here}"}
    try:
        with start([str(launcher), *own, "--", *command], variables, [here, log]) as program, _signals() as signals:
            ended_by = ""
            while (ending := program.wait(POLL_SECONDS)) is None:
                counted, seconds = raw.counters(directory), monotonic() - began
                over = options.duration is not None and seconds > options.duration and not ended_by
                if counted.error or over or signals:
                    ended_by = ended_by or (signal.Signals(signals[0]).name if signals else "--duration" * over)
                    signals.clear()
                    program.end()
                if told:
                    told(counted.accesses, seconds)
    finally:
        os.close(here)
        os.close(log)
    return _Run(directory, list(command), options, ended_by, monotonic() - began, ending, None)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect signals that would end us; ctrl-C is left to the program, which has it from the terminal too."""
    found: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGINT or not _at_terminal():
            found.append(number)

    ours = threading.current_thread() is threading.main_thread()
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP] if ours else []
    numbers = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _at_terminal() -> bool:
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _check_run(run: _Run, out: Path) -> None:
    if error := raw.counters(run.raw).error:
        raise OSError(error, os.strerror(error), str(out))
    if not raw.sources(run.raw):
        complaint = " ".join(_complaints(run.raw)[:1])
        status = run.ending.status
        raise SwaplabError(f"{run.command[0]} did not start under valgrind (status {status}) {complaint}".rstrip())


def _complaints(directory: Path) -> list[str]:
    """The lines that valgrind wrote, but for empty ones."""
    text = (directory / "log").read_text(errors="replace")
    return [line for line in text.splitlines() if line.strip("= 0123456789")][:COMPLAINTS_TOLD]


def _write(run: _Run, partial: Path, out: Path, merging: Callable[[str, int, int], None] | None) -> Recording:
    files = raw.sources(run.raw)
    history = History(files, _warm(files, run))
    info = _write_trace(run, history, partial, merging)
    chosen = choose([*zip(history.sources, info.streams, strict=False)], run.options.sample_pages)
    if len(chosen.weight):
        write_profile(partial / "content.parquet", chosen.data, chosen.weight, _source(run))
    peak = footprint(Trace.open(partial / "trace.parquet"))
    with write_whole(partial / "scenario.toml", 0o600) as file:  # it has the command line
        most, settings = peak.anonymous + peak.shared, machine_settings()
        text = scenario_text(info, run.command, most, len(chosen.weight), settings, _when(run), run.own_time)
        file.write_text(text, encoding="utf-8")
    return Recording(
        directory=str(out),
        command=run.command,
        status=run.ending.status,
        ended_by=run.ended_by,
        seconds=run.seconds,
        own_seconds=run.own_time.ns / 1e9,
        own_is_about=run.own_time.is_about,
        accesses=raw.counters(run.raw).accesses,
        recorded=info.accesses,
        file_backed=history.dropped,
        pages=info.pages,
        peak=peak,
        freed=history.freed,
        file_pages=history.file_pages.touched,
        sampled=len(chosen.weight),
        streams=[stream.name for stream in info.streams],
        processes=_processes(history),
        not_recorded=_not_recorded(history),
        complaints=_complaints(run.raw),
    )


def _warm(files: list[raw.Source], run: _Run) -> int:
    """The time of the clock until which `skip` lasts: it runs evenly, from the start to the end."""
    first, last = files[0].start, raw.counters(run.raw).time
    return round(first + (last - first) * min(1.0, run.options.skip / run.seconds)) if run.options.skip else 0


def _processes(history: History) -> list[ProcessFootprint]:
    told = [process for process in history.processes if process.resident]
    found = [ProcessFootprint(history.streams[p.stream], p.recorded, p.resident) for p in told]
    return sorted(found, key=lambda process: -process.kernel)[:PROCESSES_TOLD]


def _not_recorded(history: History) -> list[NotRecorded]:
    counted = Counter(history.foreign)
    return [
        NotRecorded(foreign.path, _REASONS.get(foreign.reason, "unknown"), times)
        for foreign, times in sorted(counted.items())
    ]


def _write_trace(
    run: _Run, history: History, partial: Path, merging: Callable[[str, int, int], None] | None
) -> TraceInfo:
    def told(what: str) -> Callable[[int, int], None] | None:
        return merging and (lambda done, total: merging(what, done, total))

    with RawTraceWriter(partial) as writer:
        for rows in history.rows(told("putting accesses in order")):
            writer.append(rows.stream, rows.page, rows.write, events=rows.events)
        return writer.finish(
            partial / "trace.parquet",
            history.streams,
            files=history.files,
            source=_source(run),
            window=run.options.window,
            command=run.command,
            extra={
                "accesses_seen": raw.counters(run.raw).accesses,
                "dropped": {"file_backed": history.dropped},
                "not_seen": list(_NOT_SEEN),
                "status": run.ending.status,
                "not_recorded": msgspec.to_builtins(_not_recorded(history)),
            },
            progress=told("writing the trace"),
        )


def _when(run: _Run) -> str:
    accesses = raw.counters(run.raw).accesses
    today = datetime.now(UTC)
    return (
        f"{today:%Y-%m-%d} on Linux {platform.release()}: {accesses:,} accesses, {run.seconds:.1f} s with the recorder."
    )


def _source(run: _Run) -> str:
    return f"swaplab record, {Path(run.command[0]).name} under valgrind"
