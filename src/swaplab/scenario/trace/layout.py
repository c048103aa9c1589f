"""The layout of a trace file: columns, encodings and what the metadata says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa

from swaplab.errors import InputError
from swaplab.text import from_json, to_json

__all__ = [
    "MAX_PAGES",
    "MAX_STREAMS",
    "METADATA_KEY",
    "ROW_GROUP_ROWS",
    "Stream",
    "TraceInfo",
    "check_info",
    "decode_info",
    "encode_info",
    "schema",
]

METADATA_KEY: Final = b"swaplab.trace"
VERSION: Final = 1
MAX_PAGES: Final = 1 << 31  # all streams together: 8 TiB of memory; keeps page numbers within int32 for the engines
_FREE_PAGES: Final = 1 << 24  # without an access each: readers may take tens of bytes of memory a page
MAX_STREAMS: Final = 1 << 16  # what the uint16 column can name
ROW_GROUP_ROWS: Final = 1 << 17  # about 1 MB a group in memory: what reads it keeps the caches to itself


class Stream(msgspec.Struct, omit_defaults=True):
    """One sequence of accesses to one address space.

    Attributes:
        name: unique within the trace, such as ``"python3:1"``.
        pages: page numbers of this stream are ``0 .. pages - 1``.
        accesses: rows of this stream.
        ranges: ``(first address >> 12, pages)`` of each contiguous range, in order of address, when known.
            Page 0 is the first page of the first range; the pages of all ranges add up to `pages`.
    """

    name: str
    pages: int
    accesses: int = 0
    ranges: list[tuple[int, int]] | None = None


class TraceInfo(msgspec.Struct, omit_defaults=True):
    """What the metadata of a trace says.

    Attributes:
        accesses: rows of the file.
        streams: indexed by the ``stream`` column.
        source: where the trace comes from, for people.
        window: repeats inside a window of that many pages were dropped, if any were.
        command: the command line that was recorded, if one was.
        extra: keys of the metadata that swaplab does not interpret, kept as they are.
    """

    accesses: int
    streams: list[Stream]
    source: str = ""
    window: int | None = None
    command: list[str] | None = None
    extra: dict[str, Any] = {}

    @property
    def pages(self) -> int:
        """Pages of all streams together."""
        return sum(stream.pages for stream in self.streams)


_KNOWN: Final = frozenset(TraceInfo.__struct_fields__) - {"extra"} | {"version"}


def schema(page: pa.DataType, with_time: bool) -> pa.Schema:
    """Columns of a trace whose page numbers are of type `page`; none may hold nulls."""
    fields = [
        pa.field("stream", pa.uint16(), nullable=False),
        pa.field("page", page, nullable=False),
        pa.field("write", pa.bool_(), nullable=False),
    ]
    if with_time:
        fields.append(pa.field("time", pa.int64(), nullable=False))
    return pa.schema(fields)


def encode_info(info: TraceInfo) -> bytes:
    """`info` as the JSON of the metadata; the keys of ``extra`` stand beside the others."""
    known = msgspec.to_builtins(info)
    known.pop("extra", None)
    return to_json({"version": VERSION} | info.extra | known).encode()


def decode_info(path: Path, data: bytes) -> TraceInfo:
    """Read the metadata of the trace at `path`.

    Raises:
        InputError: not JSON, keys missing or of the wrong type, or numbers that contradict each other.
    """
    where = f"{path}: metadata {METADATA_KEY.decode()}"
    try:
        raw = msgspec.convert(from_json(data), dict[str, Any])
        if raw.get("version") != VERSION:
            raise InputError(f"{where}: version", str(VERSION), raw.get("version"))
        extra = {key: value for key, value in raw.items() if key not in _KNOWN}
        info = msgspec.convert({key: raw[key] for key in raw.keys() & _KNOWN} | {"extra": extra}, TraceInfo)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise InputError(where, "the description of a trace", error) from None
    check_info(where, info)
    return info


def check_info(where: str, info: TraceInfo) -> None:
    """Check that the numbers of `info` agree.

    Raises:
        InputError: they contradict each other or go beyond the limits.
    """
    if info.accesses <= 0:
        raise InputError(f"{where}: accesses", "at least one access", info.accesses)
    if not 0 < len(info.streams) <= MAX_STREAMS:
        raise InputError(f"{where}: streams", f"1 to {MAX_STREAMS} streams", len(info.streams))
    if len({stream.name for stream in info.streams}) != len(info.streams):
        raise InputError(f"{where}: streams", "a name of its own for each stream", "a name twice")
    for number, stream in enumerate(info.streams):
        _check_stream(f"{where}: streams[{number}]", stream)
    # Dense page numbers need an access each: whoever declares many pages has to bring as many rows.
    most = min(MAX_PAGES, max(info.accesses, _FREE_PAGES))
    if info.pages > most:
        raise InputError(f"{where}: streams", f"at most {most} pages in all for {info.accesses} accesses", info.pages)
    if sum(stream.accesses for stream in info.streams) != info.accesses:
        raise InputError(f"{where}: accesses", "the accesses of all streams together", info.accesses)


def _check_stream(where: str, stream: Stream) -> None:
    if stream.pages < 0 or stream.accesses < 0 or (stream.accesses > 0 and stream.pages == 0):
        found = f"{stream.pages} and {stream.accesses}"
        raise InputError(where, "pages and accesses that are not negative, no access without a page", found)
    if stream.ranges is None:
        return
    if any(first < 0 or pages <= 0 for first, pages in stream.ranges):
        raise InputError(f"{where}.ranges", "pages at addresses that are not negative", "negative numbers or no pages")
    if sum(pages for _, pages in stream.ranges) != stream.pages:
        raise InputError(f"{where}.ranges", f"{stream.pages} pages in all", sum(p for _, p in stream.ranges))
    ends = [first + pages for first, pages in stream.ranges]
    if any(after[0] < end for end, after in zip(ends, stream.ranges[1:], strict=False)):
        raise InputError(f"{where}.ranges", "ranges in order of address that do not overlap", "ranges out of order")
