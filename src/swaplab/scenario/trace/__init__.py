"""Traces: which pages were touched, in which order, and how they got into one Parquet file."""

from __future__ import annotations

from swaplab.scenario.trace.layout import MAX_PAGES, MAX_STREAMS, Stream, TraceInfo
from swaplab.scenario.trace.read import Chunk, Trace
from swaplab.scenario.trace.write import TraceWriter

__all__ = ["MAX_PAGES", "MAX_STREAMS", "Chunk", "Stream", "Trace", "TraceInfo", "TraceWriter"]
