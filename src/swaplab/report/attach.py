"""What an attached recording says, for people."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

import numpy as np

from swaplab.host.attach.recording import AttachedRecording, Group, Program
from swaplab.linux.page import PAGE_SIZE
from swaplab.report.parts import Part, Table, Verbatim
from swaplab.scenario.units import round_size
from swaplab.text import shown

__all__ = ["attach_report"]

SHOWN_MAX = 12
WINDOWS = 4


def attach_report(recording: AttachedRecording) -> list[Part]:
    """How old the memory of each program is, and how that went along time."""
    parts: list[Part] = [_heading(recording), _programs(recording.programs)]
    if recording.ages:
        parts.append(_along_time(recording))
    directory = shlex.quote(recording.directory)
    parts.append("\n".join(_notes(recording)))
    parts.append(Verbatim(f"next: swaplab run {directory}/scenario.toml --compare"))
    return parts


def _heading(recording: AttachedRecording) -> str:
    looked = f"looked at {recording.samples:,} times in {recording.seconds:,.0f} s"
    took = f"That took {recording.cost_share:.1%} of a processor"
    return f"{shown(recording.target)}: {looked}, from outside. {took}, and was ended by {recording.ended_by}."


def _size(pages: float) -> str:
    return round_size(pages * PAGE_SIZE) if round(pages) else "-"


def _programs(programs: Sequence[Program]) -> Table:
    """One row for each program, the largest first: what it touches within some times."""
    longest = max(program.window_seconds[-1] for program in programs)
    windows = [longest / 8**number for number in reversed(range(WINDOWS))]
    headings = ["program", "pid", "resident", "in swap", *(f"in {_seconds(window)}" for window in windows)]
    table = Table("Memory that is touched within a time, in the mean", headings)
    largest = sorted(programs, key=lambda program: -program.resident_pages)
    for program in largest[:SHOWN_MAX]:
        reached = np.interp(windows, [0.0, *program.window_seconds], [0.0, *program.working_set_pages])
        cells = [_size(program.resident_pages), _size(program.swapped_pages), *map(_size, reached.tolist())]
        table.add_row(shown(program.stream), str(program.pid), *cells)
    if len(largest) > SHOWN_MAX:
        table.add_row(f"{len(largest) - SHOWN_MAX:,} more in --json")
    return table


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 10 else f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _along_time(recording: AttachedRecording) -> Table:
    """One row for each cgroup and part of the time: what is cold, and what comes back."""
    chosen = sorted({0, len(recording.ages) // 2, len(recording.ages) - 1})
    headings = ["cgroup", "until", "resident"]
    for number in chosen:
        age = _seconds(recording.ages[number])
        headings += [f"cold for\n{age}", "back\na minute"]
    table = Table("Along time: memory that was not touched for so long, and what of it is touched again", headings)
    for group in recording.cgroups[: SHOWN_MAX * 2]:
        table.add_row(*_group_row(group, chosen))
    if len(recording.cgroups) > SHOWN_MAX * 2:
        table.add_row(f"{len(recording.cgroups) - SHOWN_MAX * 2:,} more in --json")
    return table


def _group_row(group: Group, chosen: Sequence[int]) -> Iterator[str]:
    yield shown(group.cgroup)
    yield _seconds(group.end)
    yield _size(sum(group.cold_pages))
    for number in chosen:
        yield _size(sum(group.cold_pages[number + 1 :]))
        yield _size(60 * group.promotions[number])


def _notes(recording: AttachedRecording) -> Iterator[str]:
    yield f"method: {recording.method}"
    yield f"trace.parquet: {recording.accesses:,} accesses, reconstructed {recording.reconstructed}"
    if recording.ages:
        yield "histograms.parquet: for swaplab fleet"
    if recording.huge_share > 0.01:
        yield f"{recording.huge_share:.0%} of the memory is in huge pages, which count as touched as a whole"
    if recording.unreadable:
        names = ", ".join(map(shown, recording.unreadable[:SHOWN_MAX]))
        more = len(recording.unreadable) - SHOWN_MAX
        yield f"NOT READ, no permission: {names}" + (f" and {more:,} more, in --json" if more > 0 else "")
