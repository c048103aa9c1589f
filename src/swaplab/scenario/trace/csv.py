"""Comma-separated requests: libCacheSim's CSV and text traces, or any table with a column of pages.

One column names the page: a number, an address (``address >> 12`` is the page) or any text (whose hash then
orders the pages). Optional columns tell the time in seconds, whether the access writes, and the stream.
Sizes of objects are not kept: an object is one page.

Columns are found by the names in a header; a file of one column needs none. Otherwise they are told in
libCacheSim's own words, by number from 1 or by name: ``time-col=2, obj-id-col=5, delimiter=;,
has-header=true``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.scenario.trace.layout import MAX_STREAMS
from swaplab.scenario.trace.source import Input, RawBatch, Source, constant_stream, line_blocks

__all__ = ["CsvColumns", "parse_columns", "read_csv"]

_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+")
_VALUE: Final = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?|0[xX][0-9a-fA-F]+)")
_ROW: Final = re.compile(r"Row #(\d+): (.*)", re.DOTALL)
_DELIMITERS: Final = ",\t;|: "
_NS: Final = 1e9

_ADDRESS_NAMES: Final = ("address", "addr", "vaddr")
_ID_NAMES: Final = ("page", "objid", "id", "key", "lbn", "lba", *_ADDRESS_NAMES)
_TIME_NAMES: Final = ("time", "timestamp", "ts", "clocktime", "realtime")
_WRITE_NAMES: Final = ("write", "op", "rw", "iswrite")
_STREAM_NAMES: Final = ("stream", "tenant", "pid")
_READS: Final = frozenset({"0", "false", "r", "read", "get", "gets", "load", "l", "28"})
_WRITES: Final = frozenset(
    {
        "1",
        "2a",
        "true",
        "w",
        "write",
        "set",
        "add",
        "replace",
        "cas",
        "append",
        "prepend",
        "incr",
        "decr",
        "store",
        "s",
    }
)
_WORDS: Final = {
    "time-col": "time",
    "obj-id-col": "id",
    "obj-size-col": "size",
    "write-col": "write",
    "stream-col": "stream",
    "obj-id-is-num": "is_number",
    "has-header": "has_header",
    "delimiter": "delimiter",
}


class CsvColumns(msgspec.Struct):
    """The columns given to `parse_columns`, if any: numbers from 1, or names in the header."""

    time: str | None = None
    id: str | None = None
    size: str | None = None
    write: str | None = None
    stream: str | None = None
    is_number: bool | None = None
    has_header: bool | None = None
    delimiter: str | None = None


class _Layout(msgspec.Struct):
    """The columns to read: their positions, and how to read the page."""

    delimiter: str
    columns: list[str]
    skip_lines: int
    id: int
    time: int | None
    write: int | None
    stream: int | None
    is_number: bool
    is_address: bool
    is_page: bool


def parse_columns(text: str) -> CsvColumns:
    """Parse libCacheSim's ``key=value, key=value``.

    Raises:
        InputError: an unknown key, or a value that its key does not take.
    """
    where = "columns"
    told: dict[str, str] = {}
    # The delimiter may itself be a comma: "delimiter=,, obj-id-col=2".
    for key, value in re.findall(r"([^=,]+)=(,|[^,]*)", text):
        word = key.strip().lower().replace("_", "-")
        if word not in _WORDS:
            raise InputError(f"{where}: {word}", "one of " + ", ".join(_WORDS), word)
        told[_WORDS[word]] = value if value == "\t" else value.strip() or ","
    if text.strip() and not told:
        raise InputError(where, "key=value, key=value", text)
    if told.get("delimiter") == r"\t":
        told["delimiter"] = "\t"
    delimiter = told.get("delimiter", ",")
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
        raise InputError(f"{where}: delimiter", "one character of ASCII that is no quote and no line break", delimiter)
    try:
        return msgspec.convert(told, CsvColumns, strict=False)
    except msgspec.ValidationError as error:
        raise InputError(where, "true or false", error) from None


def read_csv(data: Input, told: CsvColumns) -> Source:
    """Read the rows of `data`.

    Raises:
        InputError: no lines, no column that names a page; while reading, a line that does not parse.
    """
    blocks = line_blocks(data)
    first = next(blocks, None)
    if first is None:
        raise InputError(data.path, "at least one line", "an empty file")
    layout = _detect(data, first[1], told)
    source = Source(iter(()), with_time=layout.time is not None, addresses=layout.is_address or layout.is_page)
    if layout.stream is None:
        source.streams.append("requests")
    source.batches = _batches(data, chain([first], blocks), layout, source.streams)
    return source


def _detect(data: Input, text: bytes, told: CsvColumns) -> _Layout:
    lines = [line for line in text.split(b"\n", 64)[:-1] if line.strip()]
    if not lines:
        raise InputError(data.path, "lines of text", "blank ones")
    head = lines[0].decode(errors="replace").strip("\r")
    delimiter = told.delimiter or next((mark for mark in _DELIMITERS if mark in head), ",")
    fields = _fields(head, delimiter)
    has_header = told.has_header
    if has_header is None:
        has_header = not any(_VALUE.fullmatch(field) for field in fields)
    names = [re.sub("[^a-z]", "", field.lower()) for field in fields] if has_header else []
    find = _finder(data, fields, names)
    id_at = find(told.id, _ID_NAMES)
    if id_at is None and len(fields) == 1:
        id_at = 0
    if id_at is None:
        raise InputError(f"{data.path}: line 1", "a column of pages (tell it with --columns obj-id-col=N)", repr(head))
    name = names[id_at] if names else ""
    found = {
        "obj-id-col": id_at,
        "time-col": find(told.time, _TIME_NAMES),
        "write-col": find(told.write, _WRITE_NAMES),
        "stream-col": find(told.stream, _STREAM_NAMES),
    }
    _check_apart(data, found)
    return _Layout(
        delimiter=delimiter,
        columns=[f"column {number}" for number in range(1, len(fields) + 1)],
        skip_lines=text[: text.index(lines[0])].count(b"\n") + 1 if has_header else 0,
        id=id_at,
        time=found["time-col"],
        write=found["write-col"],
        stream=found["stream-col"],
        is_number=_is_number(lines[has_header:], delimiter, id_at) if told.is_number is None else told.is_number,
        is_address=name in _ADDRESS_NAMES,
        is_page=name == "page" or (not names and len(fields) == 1),
    )


def _check_apart(data: Input, found: dict[str, int | None]) -> None:
    """Refuse a column that is to be two things."""
    owners: dict[int, str] = {}
    for name, at in found.items():
        if at is not None and owners.setdefault(at, name) != name:
            raise InputError(f"{data.path}: line 1", f"another column for {name} than for {owners[at]}", at + 1)


def _fields(line: str, delimiter: str) -> list[str]:
    return [field.strip().strip('"') for field in line.split(delimiter)]


def _finder(data: Input, fields: list[str], names: list[str]) -> Callable[[str | None, tuple[str, ...]], int | None]:
    def find(told: str | None, usual: tuple[str, ...]) -> int | None:
        """Return the position of the column that was told, or else of the first with a usual name."""
        if told is None:
            return next((names.index(name) for name in usual if name in names), None)
        if told in fields and names:
            return fields.index(told)
        if told.isdecimal() and 1 <= int(told) <= len(fields):
            return int(told) - 1
        raise InputError(f"{data.path}: line 1", f"a column {told}", f"{len(fields)} columns: {', '.join(fields)}")

    return find


def _is_number(rows: list[bytes], delimiter: str, at: int) -> bool:
    if not rows:
        return True
    fields = _fields(rows[0].decode(errors="replace"), delimiter)
    return at < len(fields) and _NUMBER.fullmatch(fields[at]) is not None


def _batches(
    data: Input, blocks: Iterator[tuple[int, bytes]], layout: _Layout, streams: list[str]
) -> Iterator[RawBatch]:
    numbers = {name: number for number, name in enumerate(streams)}
    for line, text in blocks:
        skipped = layout.skip_lines if line == 1 else 0
        body = b"\n".join(text.split(b"\n", skipped)[skipped:])
        if body.strip():
            where = _Where(data, line + skipped, body)
            yield _batch(_parse(body, layout, where), layout, numbers, where)
            streams[:] = numbers


class _Where:
    """Tell the line of a row of a block: blank lines are no rows."""

    def __init__(self, data: Input, line: int, text: bytes) -> None:
        self._data, self._line, self._text = data, line, text

    def error(self, row: int, expected: str, found: object) -> InputError:
        """Blame `row`, which counts from 0."""
        lines = [number for number, line in enumerate(self._text.split(b"\n")) if line.strip(b"\r")]
        at = self._line + (lines[row] if row < len(lines) else 0)
        return InputError(f"{self._data.path}: line {at}", expected, found)


def _parse(text: bytes, layout: _Layout, where: _Where) -> pa.Table:
    kinds = (
        (layout.id, pa.uint64() if layout.is_number else pa.string()),
        (layout.time, pa.float64()),
        (layout.write, pa.string()),
        (layout.stream, pa.string()),
    )
    named = {layout.columns[at]: kind for at, kind in kinds if at is not None}
    try:
        return pa_csv.read_csv(
            pa.BufferReader(text),
            pa_csv.ReadOptions(use_threads=False, column_names=layout.columns, block_size=len(text) + 1),
            pa_csv.ParseOptions(delimiter=layout.delimiter),
            pa_csv.ConvertOptions(
                column_types=named, include_columns=list(named), null_values=[], strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        row = _ROW.search(str(error))
        found = (row[2] if row else str(error)).strip()
        raise where.error(int(row[1]) - 1 if row else 0, "a row like the first", found) from None


def _batch(table: pa.Table, layout: _Layout, numbers: dict[str, int], where: _Where) -> RawBatch:
    def column(at: int) -> pa.Array:
        return table.column(layout.columns[at]).combine_chunks()

    rows = len(table)
    page = column(layout.id).to_numpy() if layout.is_number else _hashes(column(layout.id))
    if layout.is_address:
        page = page >> np.uint64(12)
    write = np.zeros(rows, np.bool_) if layout.write is None else _writes(column(layout.write), where)
    time = None if layout.time is None else _times(column(layout.time), where)
    stream = constant_stream(0, rows) if layout.stream is None else _streams(column(layout.stream), numbers, where)
    return RawBatch(stream, page, write, time)


def _hashes(texts: pa.Array) -> NDArray[np.uint64]:
    coded = texts.dictionary_encode()
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in coded.dictionary.to_pylist())
    values: NDArray[np.uint64] = np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)
    indices: NDArray[np.int32] = coded.indices.to_numpy()
    return values[indices]


def _writes(texts: pa.Array, where: _Where) -> NDArray[np.bool_]:
    coded = pc.utf8_lower(pc.utf8_trim_whitespace(texts)).dictionary_encode()
    words = coded.dictionary.to_pylist()
    indices: NDArray[np.int32] = coded.indices.to_numpy()
    for number, word in enumerate(words):
        if word not in _READS | _WRITES:
            raise where.error(int((indices == number).argmax()), "read or write (0, 1, r, w, get, set ...)", repr(word))
    return np.array([word in _WRITES for word in words], np.bool_)[indices]


def _times(seconds: pa.Array, where: _Where) -> NDArray[np.int64]:
    with np.errstate(over="ignore"):
        values = seconds.to_numpy() * _NS
    bad = ~(np.abs(values) < 2**63)  # also true of what is not a number
    if bad.any():
        at = int(bad.argmax())
        raise where.error(at, "a time in seconds, less than 2**63 nanoseconds", seconds[at].as_py())
    rounded: NDArray[np.int64] = np.rint(values).astype(np.int64)
    return rounded


def _streams(texts: pa.Array, numbers: dict[str, int], where: _Where) -> NDArray[np.uint16]:
    coded = texts.dictionary_encode()
    names = coded.dictionary.to_pylist()
    for name in names:
        numbers.setdefault(name, len(numbers))
    if len(numbers) > MAX_STREAMS:
        raise where.error(0, f"at most {MAX_STREAMS} streams", "more")
    indices: NDArray[np.int32] = coded.indices.to_numpy()
    return np.array([numbers[name] for name in names], np.uint16)[indices]
