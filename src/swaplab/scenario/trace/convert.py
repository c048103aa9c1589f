"""Convert the traces of other tools."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

import numpy as np

from swaplab.errors import InputError
from swaplab.files import scratch_beside
from swaplab.scenario.trace.csv import CsvColumns, parse_columns, read_csv
from swaplab.scenario.trace.damo import read_damo
from swaplab.scenario.trace.lackey import read_lackey
from swaplab.scenario.trace.layout import TraceInfo
from swaplab.scenario.trace.oracle_general import RECORD, read_oracle_general
from swaplab.scenario.trace.raw import RawTraceWriter
from swaplab.scenario.trace.source import Input, RawBatch, Source
from swaplab.scenario.trace.window import drop_repeats

__all__ = ["Format", "convert", "detect"]

Format = Literal["oracle-general", "csv", "damo", "lackey"]

_LACKEY: Final = re.compile(rb"^(I  | [LSM] )[0-9a-f]{1,16},[0-9]+\r?$", re.MULTILINE)
_HEAD_BYTES: Final = 1 << 14


def detect(path: Path) -> Format:
    """Tell the format of `path` by its name, or else by how its content starts.

    Raises:
        InputError: empty, a trace already, or none of the formats.
        OSError: the file cannot be read.
    """
    with Input(path) as data:
        head = data.read(_HEAD_BYTES)
    if not head:
        raise InputError(path, "a trace", "an empty file")
    if head.startswith(b"PAR1"):
        raise InputError(path, "a trace of another tool", "Parquet, which needs no conversion if it is swaplab's")
    if "oraclegeneral" in path.name.lower():
        return "oracle-general"
    if b"\0" in head:
        return _detect_binary(path, head)
    if head.lstrip().startswith(b"["):
        return "damo"
    return "lackey" if _LACKEY.search(head) else "csv"


def convert(
    path: Path,
    out: Path,
    format: Format | None = None,
    *,
    columns: str = "",
    window: int | None = None,
    limit: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> TraceInfo:
    """Convert `path` to the trace `out`, in memory that does not grow with the number of accesses.

    Args:
        path: the foreign trace, also compressed with zstd, gzip or zlib.
        out: the Parquet file to write, whole or not at all.
        format: None detects it.
        columns: where a CSV file keeps what (`parse_columns`).
        window: drop accesses to any of that many pages that their stream used last.
        limit: read that many accesses at most.
        progress: called with a stage's name, what is done of it and what there is.

    Raises:
        InputError: the input is not of its format, or holds no access.
        OSError: a file cannot be read or written.
    """
    kind = format or detect(path)
    if columns and kind != "csv":
        raise InputError("columns", "a CSV file", kind)
    if limit is not None and limit < 1:
        raise InputError("limit", "at least one access", limit)
    if out.exists() and out.samefile(path):
        raise InputError(out, "another file than the input", "the same")
    told = parse_columns(columns)
    with Input(path) as data:
        source = _open(data, kind, told)
        with scratch_beside(out) as scratch, RawTraceWriter(scratch, source.with_time, where=path) as raw:
            for batch in _chosen(source.batches, window, limit):
                raw.append(*batch)
                if progress:
                    progress("reading", data.position(), data.size)
            if not raw.rows:
                raise InputError(path, "at least one access", "none")
            return raw.finish(
                out,
                source.streams,
                source=f"{kind} {path.name}",
                window=window,
                addresses=source.addresses,
                progress=progress and (lambda done, rows: progress("writing", done, rows)),
            )


def _open(data: Input, kind: Format, told: CsvColumns) -> Source:
    if kind == "csv":
        return read_csv(data, told)
    return {"oracle-general": read_oracle_general, "damo": read_damo, "lackey": read_lackey}[kind](data)


def _chosen(batches: Iterable[RawBatch], window: int | None, limit: int | None) -> Iterable[RawBatch]:
    if limit is not None:
        batches = _limited(batches, limit)
    return batches if window is None else drop_repeats(batches, window)


def _limited(batches: Iterable[RawBatch], limit: int) -> Iterator[RawBatch]:
    for batch in batches:
        rows = min(limit, len(batch.page))
        time = None if batch.time is None else batch.time[:rows]
        yield RawBatch(batch.stream[:rows], batch.page[:rows], batch.write[:rows], time)
        limit -= rows
        if not limit:
            return


def _detect_binary(path: Path, head: bytes) -> Format:
    rows = np.frombuffer(head[: len(head) // RECORD.itemsize * RECORD.itemsize], RECORD)
    if len(rows) and bool((rows["next"] >= -1).all()) and bool((np.diff(rows["time"].astype(np.int64)) >= 0).all()):
        return "oracle-general"
    raise InputError(path, "oracleGeneral, CSV, damo's JSON or lackey's text (tell which with --format)", head[:8])
