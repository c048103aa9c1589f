"""``swaplab trace``: look into page traces, make them of other tools' traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.progress import Progress

from swaplab.cli.common import Flag, check_output, console, report_beside, say, say_json, show
from swaplab.linux.page import PAGE_SIZE
from swaplab.report.parts import Table
from swaplab.scenario.trace import EventKind, Format, Trace, TraceInfo
from swaplab.scenario.trace import convert as convert_trace
from swaplab.scenario.trace.summary import TraceSummary, summarize
from swaplab.scenario.units import round_size
from swaplab.text import shown

__all__ = ["trace_app"]

ROWS_MAX = 1_000_000

trace_app = cyclopts.App(name="trace", help="Look into page traces; convert those of other tools.")


@trace_app.command
def info(file: Path, /, *, json: Flag = False) -> None:
    """Say what a trace holds: streams, pages, accesses, working set.

    Example: swaplab trace info app.parquet

    Args:
        file: A trace.
        json: Print JSON instead of tables.
    """
    trace = Trace.open(file)
    summary = summarize(trace)
    if json:
        data = {"file": str(file), "bytes": file.stat().st_size} | msgspec.to_builtins(summary)
        say_json(data | {"metadata": msgspec.to_builtins(trace.info)})
    else:
        _print_info(trace, summary)


@trace_app.command
def convert(
    file: Path,
    out: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    format: Format | None = None,
    columns: str = "",
    window: int | None = None,
    limit: int | None = None,
    json: Flag = False,
) -> None:
    r"""Convert a trace of libCacheSim, damo or valgrind's lackey.

    Example: swaplab trace convert requests.csv app.parquet --columns "time-col=1, obj-id-col=2"

    Args:
        file: The trace to read, also compressed with zstd, gzip or zlib.
        out: The trace to write; `-` is standard output.
        format: What FILE is; found out by default.
        columns: Where a CSV file keeps what, in libCacheSim's words, by number from 1 or by name: time-col,
            obj-id-col, write-col, stream-col, obj-id-is-num, has-header, delimiter.
        window: Drop accesses to any of the last N pages that their stream used (the first write is kept).
        limit: Read the first N accesses only.
        json: Print the new trace's metadata as JSON.
    """
    check_output(out, "OUT")
    with _progress() as progress:
        made = convert_trace(file, out, format, columns=columns, window=window, limit=limit, progress=progress)
    with report_beside(out):
        if json:
            say_json(msgspec.to_builtins(made))
        else:
            size = f", {round_size(out.stat().st_size)}" if out.is_file() else ""
            say(f"{out}: {made.accesses:,} accesses to {made.pages:,} pages{size}")


@trace_app.command
def head(
    file: Path,
    /,
    *,
    rows: Annotated[int, Parameter(name=["--rows", "-n"], validator=Number(gte=0, lte=ROWS_MAX))] = 20,
    json: Flag = False,
) -> None:
    """Show the first rows of a trace: accesses, and events between them.

    Example: swaplab trace head app.parquet -n 5

    Args:
        file: A trace.
        rows: How many.
        json: Print one JSON object a line.
    """
    trace = Trace.open(file)
    shown_rows = list(islice(_rows(trace), rows))
    if json:
        for row in shown_rows:
            say_json(row)
        return
    more = ["pages", "other", "other page"] if trace.has_events else []
    table = Table("", ["stream", "page", "what", *more, *(["time (ns)"] if trace.has_time else [])])
    for row in shown_rows:
        what = row.get("event") or ("write" if row["write"] else "read")
        keys = [key.replace(" ", "_") for key in more] + (["time"] if trace.has_time else [])
        cells = [row["stream"], row.get("page", ""), what, *(row.get(key, "") for key in keys)]
        table.add_row(*(shown(str(cell)) for cell in cells))
    show([table])


def _rows(trace: Trace) -> Iterator[dict[str, object]]:
    for chunk in trace.chunks(rows=1024, with_time=trace.has_time):
        events = iter(chunk.events)
        event = next(events, None)
        for row in range(len(chunk.page) + 1):
            while event is not None and event["at"] == row:
                yield _event(trace, event)
                event = next(events, None)
            if row < len(chunk.page):
                name = trace.info.streams[chunk.stream[row]].name
                access = {"stream": name, "page": int(chunk.page[row]), "write": bool(chunk.write[row])}
                yield access if chunk.time is None else access | {"time": int(chunk.time[row])}


def _event(trace: Trace, event: np.void) -> dict[str, object]:
    """One event: what has no meaning for its kind is left out."""
    kind, streams = EventKind(event["event"]), trace.info.streams
    row: dict[str, object] = {"stream": streams[event["stream"]].name, "event": kind.name.lower()}
    if kind != EventKind.EXIT:
        row |= {"page": int(event["page"]), "pages": int(event["pages"])}
    if kind in (EventKind.FORK, EventKind.SHARE):
        row |= {"other": streams[event["other"]].name, "other_page": int(event["other_page"])}
    if kind >= EventKind.FILE_READ:
        row |= {"other": trace.info.files[event["other"]].name}
    return row | ({"time": int(event["time"])} if trace.has_time else {})


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each stage on a terminal, and nothing elsewhere."""
    shown_on = console(stderr=True)
    with Progress(console=shown_on, disable=not shown_on.is_terminal, transient=True) as bars:
        tasks = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)

        yield update


def _print_info(trace: Trace, summary: TraceSummary) -> None:
    streams = Table(str(trace.path), ["stream", "pages", "touched", "accesses", "writes"])
    for stream in summary.streams:
        share = f"{stream.writes / max(stream.accesses, 1):.0%}"
        streams.add_row(shown(stream.name), f"{stream.pages:,}", f"{stream.touched:,}", f"{stream.accesses:,}", share)
    facts = Table("", ["", ""], texts=2)
    for name, value in _facts(trace.info, summary, trace.path.stat().st_size):
        facts.add_row(name, value)
    show([streams, facts])


def _facts(info: TraceInfo, summary: TraceSummary, size: int) -> Iterator[tuple[str, str]]:
    parts = summary.working_set
    yield "accesses", f"{summary.accesses:,}, {summary.writes / summary.accesses:.0%} writes"
    yield "size", f"{round_size(size)}, {size / summary.accesses:.2f} B an access"
    yield "memory", f"{info.pages:,} pages, {round_size(info.pages * PAGE_SIZE)}"
    yield "hot", f"{summary.hot_pages:,} pages take 90% of the accesses"
    yield (
        "working set",
        f"{sum(parts) // len(parts):,} pages on average of {len(parts)} parts, {max(parts):,} at most",
    )
    for event in summary.events:
        yield event.kind, f"{event.events:,} events, {round_size(event.pages * PAGE_SIZE)}"
    if info.source:
        yield "source", info.source
    if info.reconstructed:
        yield "reconstructed", info.reconstructed
    if info.command:
        yield "command", " ".join(info.command)
    if info.window is not None:
        yield "window", f"repeats within {info.window} pages are left out"
