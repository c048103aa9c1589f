"""The layout of a trace file: columns, encodings and what the metadata says."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import pyarrow as pa

from swaplab.errors import InputError
from swaplab.text import from_json, to_json

__all__ = [
    "EVENTS",
    "EVENT_COLUMNS",
    "MAX_PAGES",
    "MAX_STREAMS",
    "METADATA_KEY",
    "ROW_GROUP_ROWS",
    "EventKind",
    "Stream",
    "TraceFile",
    "TraceInfo",
    "check_info",
    "decode_info",
    "encode_info",
    "schema",
]

METADATA_KEY: Final = b"swaplab.trace"
VERSION: Final = 1
VERSION_WITH_EVENTS: Final = 2
MAX_PAGES: Final = 1 << 31  # all streams together: 8 TiB of memory; keeps page numbers within int32 for the engines
_FREE_PAGES: Final = 1 << 24  # without an access each: readers may take tens of bytes of memory a page
MAX_STREAMS: Final = 1 << 16  # what the uint16 column can name
MAX_FILES: Final = 1 << 20
MAX_FILE_PAGES: Final = 1 << 32  # what the uint32 column can name: 16 TiB
ROW_GROUP_ROWS: Final = 1 << 17  # about 1 MB a group in memory: what reads it keeps the caches to itself


class EventKind(IntEnum):
    """Events of memory, or of a file; ``docs/reference/traces.md`` says what each means."""

    UNMAP = 1
    DISCARD = 2
    EXIT = 3
    FORK = 4
    SHARE = 5
    REMOVE = 6
    FILE_READ = 7
    FILE_WRITE = 8
    FILE_MAP_READ = 9
    FILE_MAP_WRITE = 10


EVENTS: Final = np.dtype(
    [
        ("at", "i8"),
        ("event", "u1"),
        ("stream", "u2"),
        ("page", "u4"),
        ("pages", "u4"),
        ("other", "u4"),
        ("other_page", "u4"),
        ("time", "i8"),
    ]
)
"""Events between accesses: `at` of the accesses they come with are before them; `time` is 0 where there is none."""

EVENT_COLUMNS: Final = ("event", "pages", "other", "other_page")


class TraceFile(msgspec.Struct):
    """A file that was read or written: its page numbers are ``0 .. pages - 1``."""

    name: str
    pages: int


class Stream(msgspec.Struct, omit_defaults=True):
    """One sequence of accesses to one address space, or the memory that several share.

    Attributes:
        name: unique within the trace, such as ``"python3:1"``.
        pages: page numbers of this stream are ``0 .. pages - 1``.
        accesses: rows of this stream.
        ranges: ``(first address >> 12, pages)`` of each contiguous range, in order of address, when known.
            Page 0 is the first page of the first range; the pages of all ranges add up to `pages`.
        kind: ``"shared"`` for shared memory, which has no accesses: the processes that map it do.
        parent: number of the stream that it was forked from, if it was.
    """

    name: str
    pages: int
    accesses: int = 0
    ranges: list[tuple[int, int]] | None = None
    kind: Literal["process", "shared"] = "process"
    parent: int | None = None


class TraceInfo(msgspec.Struct, omit_defaults=True):
    """The metadata of a trace.

    Attributes:
        accesses: rows of the file that are no events.
        streams: indexed by the ``stream`` column.
        events: rows of the file that are events.
        files: indexed by the ``other`` column of events of files.
        source: where the trace comes from, for people.
        window: repeats inside a window of that many pages were dropped, if any were.
        command: the command line that was recorded, if one was.
        reconstructed: from what, if no access of it was seen.
        extra: keys of the metadata that swaplab does not interpret, kept as they are.
    """

    accesses: int
    streams: list[Stream]
    events: int = 0
    files: list[TraceFile] = []
    source: str = ""
    window: int | None = None
    command: list[str] | None = None
    reconstructed: str = ""
    extra: dict[str, Any] = {}

    @property
    def pages(self) -> int:
        """Pages of all streams together."""
        return sum(stream.pages for stream in self.streams)


_KNOWN: Final = frozenset(TraceInfo.__struct_fields__) - {"extra"} | {"version"}


def schema(page: pa.DataType, with_time: bool, with_events: bool = False) -> pa.Schema:
    """Columns of a trace whose page numbers are of type `page`; none may hold nulls."""
    fields = [
        pa.field("stream", pa.uint16(), nullable=False),
        pa.field("page", page, nullable=False),
        pa.field("write", pa.bool_(), nullable=False),
    ]
    if with_time:
        fields.append(pa.field("time", pa.int64(), nullable=False))
    if with_events:
        fields += [pa.field(name, pa.from_numpy_dtype(EVENTS[name]), nullable=False) for name in EVENT_COLUMNS]
    return pa.schema(fields)


def encode_info(info: TraceInfo, with_events: bool) -> bytes:
    """`info` as the JSON of the metadata; the keys of ``extra`` stand beside the others."""
    known = msgspec.to_builtins(info)
    known.pop("extra", None)
    return to_json({"version": _version(with_events)} | info.extra | known).encode()


def _version(with_events: bool) -> int:
    return VERSION_WITH_EVENTS if with_events else VERSION


def decode_info(path: Path, data: bytes, with_events: bool) -> TraceInfo:
    """Read the metadata of the trace at `path`, which has the columns of events or not.

    Raises:
        InputError: not JSON, keys missing or of the wrong type, or numbers that contradict each other.
    """
    where = f"{path}: metadata {METADATA_KEY.decode()}"
    try:
        raw = msgspec.convert(from_json(data), dict[str, Any])
        if raw.get("version") != _version(with_events):
            raise InputError(f"{where}: version", str(_version(with_events)), raw.get("version"))
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
        _check_stream(f"{where}: streams[{number}]", stream, len(info.streams))
    if info.events < 0:
        raise InputError(f"{where}: events", "a number that is not negative", info.events)
    if len(info.files) > MAX_FILES or any(not 0 <= file.pages <= MAX_FILE_PAGES for file in info.files):
        expected = f"at most {MAX_FILES} files of at most {MAX_FILE_PAGES} pages"
        raise InputError(f"{where}: files", expected, f"{len(info.files)} files")
    # Dense page numbers need an access each: a file that declares many pages has to have as many rows.
    most = min(MAX_PAGES, max(info.accesses, _FREE_PAGES))
    if info.pages > most:
        raise InputError(f"{where}: streams", f"at most {most} pages in all for {info.accesses} accesses", info.pages)
    if sum(stream.accesses for stream in info.streams) != info.accesses:
        raise InputError(f"{where}: accesses", "the accesses of all streams together", info.accesses)


def _check_stream(where: str, stream: Stream, streams: int) -> None:
    if stream.pages < 0 or stream.accesses < 0 or (stream.accesses > 0 and stream.pages == 0):
        found = f"{stream.pages} and {stream.accesses}"
        raise InputError(where, "pages and accesses that are not negative, no access without a page", found)
    if stream.kind == "shared" and stream.accesses:
        raise InputError(f"{where}.accesses", "no accesses of shared memory", stream.accesses)
    if stream.parent is not None and not 0 <= stream.parent < streams:
        raise InputError(f"{where}.parent", f"a stream below {streams}", stream.parent)
    if stream.ranges is None:
        return
    if any(first < 0 or pages <= 0 for first, pages in stream.ranges):
        raise InputError(f"{where}.ranges", "pages at addresses that are not negative", "negative numbers or no pages")
    if sum(pages for _, pages in stream.ranges) != stream.pages:
        raise InputError(f"{where}.ranges", f"{stream.pages} pages in all", sum(p for _, p in stream.ranges))
    ends = [first + pages for first, pages in stream.ranges]
    if any(after[0] < end for end, after in zip(ends, stream.ranges[1:], strict=False)):
        raise InputError(f"{where}.ranges", "ranges in order of address that do not overlap", "ranges out of order")
