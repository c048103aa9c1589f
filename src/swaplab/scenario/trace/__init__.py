"""Traces: which pages were touched, in which order, and how they got into one Parquet file.

- `Trace` reads a trace in chunks, `TraceWriter` writes one whose pages are numbered already.
- `RawTraceWriter` turns accesses by address into one: ``append(stream, address_page, write, time=None, events=None)``,
  then ``finish(out, stream_names, files=..., source=..., window=..., command=..., extra=...)``.
- `EVENTS` are what happens between accesses, `RAW_EVENTS` the same by address, `EventKind` what they can be.
- `convert` reads the formats of other tools.
"""

from __future__ import annotations

from swaplab.scenario.trace.convert import Format, convert, detect
from swaplab.scenario.trace.layout import (
    EVENTS,
    MAX_PAGES,
    MAX_STREAMS,
    EventKind,
    Stream,
    TraceFile,
    TraceInfo,
)
from swaplab.scenario.trace.raw import RAW_EVENTS, RawTraceWriter
from swaplab.scenario.trace.read import Chunk, Trace
from swaplab.scenario.trace.write import TraceWriter

__all__ = [
    "EVENTS",
    "MAX_PAGES",
    "MAX_STREAMS",
    "RAW_EVENTS",
    "Chunk",
    "EventKind",
    "Format",
    "RawTraceWriter",
    "Stream",
    "Trace",
    "TraceFile",
    "TraceInfo",
    "TraceWriter",
    "convert",
    "detect",
]
