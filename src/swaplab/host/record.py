"""Record the exact page trace of a real program, without privileges.

The program runs in QEMU's user-mode emulator, whose plugin (``plugin/``) sees every load and store; `raw`
puts what it wrote in order and leaves out what is not anonymous memory. The recording is a directory: a
trace, a profile of what the pages hold, and a scenario that replays both.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Final, NamedTuple

import msgspec

from swaplab.errors import InputError, SwaplabError
from swaplab.files import check_new_directory, scratch_directory, write_whole, write_whole_directory
from swaplab.host import raw
from swaplab.host.emulator import command_prefix, find_emulator, find_plugin
from swaplab.host.program import find_program
from swaplab.host.sample import choose
from swaplab.host.starter import scenario_text
from swaplab.process import Ended, guarded, kill_all, with_parent
from swaplab.scenario.content import write_profile
from swaplab.scenario.trace import MAX_STREAMS, RawTraceWriter, TraceInfo

__all__ = ["SAMPLE_PAGES", "WINDOW", "Recording", "record"]

WINDOW: Final = 64
SAMPLE_PAGES: Final = 1024
WINDOW_MAX: Final = 1 << 20  # the recorder's table takes 64 bytes for each, in each thread
SAMPLE_PAGES_MAX: Final = 1 << 16  # 256 MB of contents
POLL_SECONDS: Final = 0.2

_NOT_SEEN: Final = (
    "instruction fetches",
    "accesses by the kernel, except by read, write, pread, pwrite, recvfrom, sendto and getrandom",
    "when memory is freed",
)


class Recording(msgspec.Struct):
    """What was recorded.

    Attributes:
        directory: where the recording is.
        command: the command line.
        status: exit status of the program, negative if a signal ended it.
        seconds: wall clock time that it ran.
        accesses: loads and stores that it made.
        recorded: rows of the trace.
        file_backed: accesses that the window let through, but that touched memory which files back.
        pages: pages of the trace, of all streams.
        sampled: pages whose contents are in the profile.
        streams: one for each process.
        unfollowed: programs executed that could not be recorded (other architectures, setuid).
    """

    directory: str
    command: list[str]
    status: int
    seconds: float
    accesses: int
    recorded: int
    file_backed: int
    pages: int
    sampled: int
    streams: list[str]
    unfollowed: int


class _Run(NamedTuple):
    """A program that has ended: where the recorder wrote, what it was asked for, and how it went."""

    raw: Path
    command: list[str]
    window: int
    sample_pages: int
    status: int
    seconds: float


def record(
    command: Sequence[str],
    out: Path,
    *,
    window: int = WINDOW,
    sample_pages: int = SAMPLE_PAGES,
    environment: Mapping[str, str] | None = None,
    running: Callable[[int, float], None] | None = None,
    merging: Callable[[str, int, int], None] | None = None,
) -> Recording:
    """Run `command` to its end and write what it did to the new directory `out`.

    Args:
        command: program and arguments; its standard streams are ours.
        out: directory to make, whole or not at all.
        window: an access is left out if it repeats one of the last so many that were recorded of its thread.
        sample_pages: pages whose contents to keep, at most.
        environment: of the program, ours by default.
        running: told accesses so far and seconds, several times a second.
        merging: told what is being done, how much of it is done and how much there is.

    Raises:
        InputError: `command` names no program that can be recorded.
        SwaplabError: emulator or compiler missing, or the program did not start.
        OSError: `out` exists, or cannot be written, or its disk is full.
    """
    _check_range("window", window, WINDOW_MAX)
    _check_range("sample pages", sample_pages, SAMPLE_PAGES_MAX)
    check_new_directory(out)
    program, emulator = find_program(command), find_emulator()
    plugin = find_plugin(emulator)
    with write_whole_directory(out) as partial, _raw_directory(out) as directory, _guarded(partial, directory):
        prefix = command_prefix(emulator, plugin, dir=directory, window=window, samples=sample_pages)
        began = monotonic()
        status = _run([*prefix, *program], environment, directory, running)
        run = _Run(directory, list(command), window, sample_pages, status, monotonic() - began)
        _check_run(run, out)
        return _write(run, partial, out, merging)


@contextmanager
def _guarded(*directories: Path) -> Iterator[None]:
    """See to it that nothing is left if we are killed: neither the directories nor a process that writes to the last.

    The emulator ends with us by itself, but what the program forked does not.
    """

    def clean_up() -> None:
        kill_all(str(directories[-1]))
        for directory in directories:
            shutil.rmtree(directory, ignore_errors=True)

    with guarded(clean_up):
        yield


def _check_range(what: str, value: int, limit: int) -> None:
    if not 0 <= value <= limit:
        raise InputError(what, f"a number from 0 to {limit}", value)


@contextmanager
def _raw_directory(out: Path) -> Iterator[Path]:
    with scratch_directory(out.parent.absolute()) as directory:
        directory.joinpath("blocks").write_bytes(bytes(raw.PAGE))
        yield directory


def _run(
    command: Sequence[str],
    environment: Mapping[str, str] | None,
    directory: Path,
    running: Callable[[int, float], None] | None,
) -> int:
    began = monotonic()
    started = subprocess.Popen(command, env=environment, preexec_fn=with_parent())  # noqa: PLW1509, S603
    with started as process, _ended_by_us(process):
        while True:
            try:
                return process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                counters = raw.counters(directory)
            if counters.error:
                process.terminate()
            if running:
                running(counters.accesses, monotonic() - began)


@contextmanager
def _ended_by_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave ctrl-C to the program, which has it from the terminal too; else, what ends us ends it."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Ended(number)

    ours = threading.current_thread() is threading.main_thread()
    handlers = {signal.SIGINT: lambda *_: None, signal.SIGTERM: stop, signal.SIGHUP: stop} if ours else {}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    except BaseException:
        process.kill()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_run(run: _Run, out: Path) -> None:
    counters = raw.counters(run.raw)
    if counters.error:
        raise OSError(counters.error, os.strerror(counters.error), str(out))
    if not counters.processes:
        raise SwaplabError(f"{run.command[0]} did not start in the emulator (status {run.status})")
    if counters.processes > MAX_STREAMS:
        raise InputError("command", f"at most {MAX_STREAMS} processes", counters.processes)


def _write(run: _Run, partial: Path, out: Path, merging: Callable[[str, int, int], None] | None) -> Recording:
    counters, accesses = raw.counters(run.raw), raw.total_accesses(run.raw)
    info, file_backed = _write_trace(run, accesses, partial, merging)
    chosen = choose(run.raw, info.streams, run.sample_pages)
    if len(chosen.weight):
        write_profile(partial / "content.parquet", chosen.data, chosen.weight, _source(run))
    scenario = scenario_text(info, run.command, len(chosen.weight))
    with write_whole(partial / "scenario.toml", 0o600) as file:  # it has the command line
        file.write_text(scenario, encoding="utf-8")
    return Recording(
        directory=str(out),
        command=run.command,
        status=run.status,
        seconds=run.seconds,
        accesses=accesses,
        recorded=info.accesses,
        file_backed=file_backed,
        pages=info.pages,
        sampled=len(chosen.weight),
        streams=[stream.name for stream in info.streams],
        unfollowed=counters.unfollowed,
    )


def _write_trace(
    run: _Run, accesses: int, partial: Path, merging: Callable[[str, int, int], None] | None
) -> tuple[TraceInfo, int]:
    def told(what: str) -> Callable[[int, int], None] | None:
        return merging and (lambda done, total: merging(what, done, total))

    file_backed = 0
    with RawTraceWriter(partial) as writer:
        for batch in raw.accesses(run.raw, told("putting accesses in order")):
            writer.append(batch.process, batch.page, batch.write)
            file_backed += batch.dropped
        info = writer.finish(
            partial / "trace.parquet",
            raw.process_names(run.raw),
            source=_source(run),
            window=run.window,
            command=run.command,
            extra={
                "accesses_seen": accesses,
                "dropped": {"file_backed": file_backed},
                "not_seen": list(_NOT_SEEN),
                "status": run.status,
                "unfollowed": raw.counters(run.raw).unfollowed,
            },
            progress=told("writing the trace"),
        )
    return info, file_backed


def _source(run: _Run) -> str:
    return f"swaplab record, {Path(run.command[0]).name} in QEMU's user-mode emulator"
