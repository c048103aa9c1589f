"""DAMON's monitoring results: the JSON that ``damo record`` writes, compressed or not.

DAMON samples; it does not trace. Of a region with ``nr_accesses`` above 0, each page is taken to be read
once, at the end of its snapshot, regions as listed and pages in order of address. Lost are how often and in
which order pages were touched within a snapshot, which pages of the region were, and whether by reads or
writes. Each record (a target) becomes a stream; streams follow one another in the file, and only their
times tell how they interleaved.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Final, NoReturn

import msgspec
import numpy as np

from swaplab.errors import InputError
from swaplab.linux.page import PAGE_SIZE
from swaplab.scenario.trace.layout import MAX_PAGES, MAX_STREAMS
from swaplab.scenario.trace.source import BATCH_ROWS, Input, RawBatch, Source, constant_stream, page_runs

__all__ = ["read_damo"]

_MAX_VALUE: Final = 1 << 26  # characters of one snapshot; DAMON's own limit of 1000 regions needs half a million
_READ_CHARACTERS: Final = 1 << 16
_SPACES: Final = " \t\r\n"
# A region states its length: 64 GiB in any file, and for each character of it 16 MiB more.
_FREE_PAGES: Final = 1 << 24
_PAGES_PER_CHARACTER: Final = 1 << 12

_Number = int | str


class _Accesses(msgspec.Struct):
    samples: _Number | None = None
    percent: float | str | None = None


class _Region(msgspec.Struct):
    start: _Number
    end: _Number
    nr_accesses: _Accesses | None = None


class _Snapshot(msgspec.Struct):
    end_time: _Number | float
    regions: list[_Region]


def read_damo(data: Input) -> Source:
    """Read the records of `data`.

    Raises:
        InputError: while reading, for JSON that is broken (names the character) or that says something else.
    """
    source = Source(iter(()), with_time=True)
    source.batches = _records(_Scanner(data), source.streams)
    return source


def _records(json_text: _Scanner, streams: list[str]) -> Iterator[RawBatch]:
    taken: set[str] = set()
    json_text.take("[")
    for _ in json_text.items("]"):
        if len(streams) == MAX_STREAMS:
            json_text.fail(f"at most {MAX_STREAMS} records", "more")
        ids: dict[str, object] = {}
        streams.append("")
        json_text.take("{")
        for _ in json_text.items("}"):
            key = json_text.value()
            json_text.take(":")
            if key == "snapshots":
                streams[-1] = _name(ids, taken)  # as far as it is known, since who reads it may end here
                yield from _snapshots(json_text, len(streams) - 1)
            else:
                ids[str(key)] = json_text.value()
        streams[-1] = _name(ids, taken)
        taken.add(streams[-1])
    if json_text.peek():
        json_text.fail("the end", "more")


def _name(ids: dict[str, object], taken: set[str]) -> str:
    parts = [
        ("kdamond", "kdamond_idx"),
        ("context", "context_idx"),
        ("scheme", "scheme_idx"),
        ("target", "target_id"),
    ]
    named = [f"{label}{ids[key]}" for label, key in parts if isinstance(ids.get(key), int)]
    name = ":".join(named) or "target"
    return f"{name}#{len(taken)}" if name in taken else name


def _snapshots(json_text: _Scanner, stream: int) -> Iterator[RawBatch]:
    json_text.take("[")
    for _ in json_text.items("]"):
        where = json_text.where()
        try:
            snapshot = msgspec.convert(json_text.value(), _Snapshot)
            time = int(_number(snapshot.end_time))
            runs = [_run(region) for region in snapshot.regions if _accessed(region)]
        except (msgspec.ValidationError, ValueError, OverflowError) as error:
            raise InputError(where, "a snapshot of damo", error) from None
        if not -(1 << 63) <= time < 1 << 63:
            raise InputError(where, "an end_time in nanoseconds", time)
        json_text.pages += sum(pages for _, pages in runs)
        if json_text.pages > (most := _FREE_PAGES + _PAGES_PER_CHARACTER * json_text.characters()):
            raise InputError(where, f"regions of at most {most} pages in all so far", json_text.pages)
        yield from _touched(stream, time, runs)


def _accessed(region: _Region) -> bool:
    count = region.nr_accesses
    if count is None:
        return False
    if count.samples is not None:
        return _number(count.samples) > 0
    return count.percent is not None and _number(str(count.percent).removesuffix("%")) > 0


def _number(value: float | str) -> int | float:
    if not isinstance(value, str):
        return value
    plain = value.replace(",", "")
    return int(plain) if plain.lstrip("-").isdecimal() else float(plain)


def _run(region: _Region) -> tuple[int, int]:
    """Return (first page, pages) of `region`."""
    start, end = int(_number(region.start)), int(_number(region.end))
    if not 0 <= start < end <= 1 << 64:
        raise ValueError(f"a region from {start} to {end}")
    first = start // PAGE_SIZE
    pages = -(-end // PAGE_SIZE) - first
    if pages > MAX_PAGES:
        raise ValueError(f"a region of {pages} pages, at most {MAX_PAGES} are possible")
    return first, pages


def _touched(stream: int, time: int, runs: list[tuple[int, int]]) -> Iterator[RawBatch]:
    """Yield the pages of `runs`, in batches of bounded size."""
    pending: list[tuple[int, int]] = []
    rows = 0
    for run in runs:
        for piece in _pieces(*run):
            if rows + piece[1] > BATCH_ROWS:
                yield _batch(stream, time, pending)
                pending, rows = [], 0
            pending.append(piece)
            rows += piece[1]
    if pending:
        yield _batch(stream, time, pending)


def _pieces(first: int, pages: int) -> Iterator[tuple[int, int]]:
    for start in range(0, pages, BATCH_ROWS):
        yield first + start, min(BATCH_ROWS, pages - start)


def _batch(stream: int, time: int, runs: list[tuple[int, int]]) -> RawBatch:
    first = np.array([first for first, _ in runs], np.uint64)
    page = page_runs(first, np.array([pages for _, pages in runs], np.int64))
    rows = len(page)
    return RawBatch(constant_stream(stream, rows), page, np.zeros(rows, np.bool_), np.full(rows, time, np.int64))


class _Scanner:
    """Read JSON piece by piece: the outer lists by hand, so that memory holds one inner value at a time."""

    def __init__(self, data: Input) -> None:
        self._data = data
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._parse = json.JSONDecoder(parse_constant=_no_constant).raw_decode
        self._text, self._at, self._before, self._ended = "", 0, 0, False
        self.pages = 0  # of regions so far

    def characters(self) -> int:
        """Characters so far."""
        return self._before + self._at

    def where(self) -> str:
        return f"{self._data.path}: character {self.characters()}"

    def fail(self, expected: str, found: str) -> NoReturn:
        raise InputError(self.where(), expected, found)

    def peek(self) -> str:
        """Return the next character that is not space, empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACES:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, wanted: str) -> None:
        if self.peek() != wanted:
            self.fail(repr(wanted), repr(self.peek()) if self.peek() else "the end of the file")
        self._at += 1

    def items(self, closing: str) -> Iterator[None]:
        """Step through a list or an object up to its `closing` bracket; the caller reads each item."""
        if self.peek() != closing:
            yield
            while self.peek() == ",":
                self._at += 1
                yield
        self.take(closing)

    def value(self) -> object:
        """Read one whole value of bounded size."""
        self.peek()
        while True:
            try:
                value, end = self._parse(self._text, self._at)
            except RecursionError:
                self.fail("JSON", "brackets nested too deeply")
            except ValueError as error:
                if not self._more():
                    self.fail("JSON", str(error))
                continue
            # A number that ends with the text so far may go on in what follows.
            if end == len(self._text) and self._more():
                continue
            self._at = end
            return value

    def _more(self) -> bool:
        """Read on, doubling what is at hand so that parsing anew costs no more than the parsing itself."""
        rest = len(self._text) - self._at
        if self._ended:
            return False
        if rest > _MAX_VALUE:
            self.fail(f"values of at most {_MAX_VALUE} characters", "a longer one")
        block = self._data.read(max(_READ_CHARACTERS, rest))
        self._ended = not block
        try:
            text = self._decode(block, self._ended)
        except UnicodeDecodeError as error:
            self.fail("UTF-8", str(error))
        self._before += self._at
        self._text, self._at = self._text[self._at :] + text, 0
        return not self._ended


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
