"""Traces: which pages were touched, in which order, and how they got into one Parquet file.

- `Trace` reads a trace in chunks, `TraceWriter` writes one whose pages are numbered already.
- `RawTraceWriter` turns accesses by address into one: ``append(stream, address_page, write, time=None)``,
  then ``finish(out, stream_names, source=..., window=..., command=..., extra=...)``.
- `convert` reads the formats of other tools.
"""

from __future__ import annotations

from swaplab.scenario.trace.convert import Format, convert, detect
from swaplab.scenario.trace.layout import MAX_PAGES, MAX_STREAMS, Stream, TraceInfo
from swaplab.scenario.trace.raw import RawTraceWriter
from swaplab.scenario.trace.read import Chunk, Trace
from swaplab.scenario.trace.write import TraceWriter

__all__ = [
    "MAX_PAGES",
    "MAX_STREAMS",
    "Chunk",
    "Format",
    "RawTraceWriter",
    "Stream",
    "Trace",
    "TraceInfo",
    "TraceWriter",
    "convert",
    "detect",
]
