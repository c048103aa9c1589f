"""How much memory a Parquet file takes to read, told before it is read: each page's header says what it unpacks to.

Compression makes a page of gigabytes from a few kilobytes, and a reader unpacks pages whole. What the footer says of
them need not be so; the headers are what the reader goes by. Both are structs in Thrift's compact protocol. They are
read here, since Arrow ends the process where what a damaged footer says of a column cannot be.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from swaplab.errors import InputError
from swaplab.scenario.regular import open_regular

__all__ = ["PAGE_BYTES_MAX", "ColumnChunk", "arrow_errors", "open_parquet", "refuse_large_pages", "row_groups"]

PAGE_BYTES_MAX: Final = 1 << 24  # unpacked; writers make pages of one megabyte
_HEADER_BYTES: Final = 1 << 16
_MAGIC: Final = b"PAR1"
_ROW_GROUPS = 4  # of a FileMetaData
_COLUMNS = 1  # of a RowGroup
_META_DATA = 3  # of a ColumnChunk
_PATH, _PACKED_SIZE, _DATA_PAGE, _DICTIONARY_PAGE, _STATISTICS = 3, 7, 9, 11, 12  # of a ColumnMetaData
_MAX_VALUE = 5  # of Statistics
_UNPACKED, _PACKED = 2, 3  # of a PageHeader
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS: Final = (4, 5, 6)


def open_parquet(path: Path, where: object) -> pa.NativeFile:
    """Open a file for Arrow, which by itself opens none whose name is not UTF-8, and may take a name for an address.

    Raises:
        InputError: a pipe, a socket, a device, a directory.
        OSError: the file cannot be read.
    """
    with open_regular(path, where):
        return pa.OSFile(os.fsencode(path))


@contextmanager
def arrow_errors(path: Path) -> Iterator[None]:
    """Turn what Arrow says of a bad file into InputError; files that cannot be read stay OSError."""
    try:
        yield
    except (pa.ArrowException, OSError, OverflowError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(path, "an undamaged Parquet file", first) from None


class ColumnChunk(NamedTuple):
    """A column of a row group, as the footer has it.

    Attributes:
        start: where its first page begins.
        end: and where its last one ends.
        greatest: its largest value, as it is stored; None if that is not said.
    """

    start: int
    end: int
    greatest: bytes | None


def row_groups(path: Path) -> list[dict[str, ColumnChunk]]:
    """Return the columns of each row group, by their names.

    Raises:
        InputError: the footer is none.
        OSError: the file cannot be read.
    """
    with path.open("rb") as data:
        size = data.seek(0, os.SEEK_END)
        data.seek(max(size - 8, 0))
        end = data.read(8)
        length = int.from_bytes(end[:4], "little")
        if end[4:] != _MAGIC or length > size - 8:
            raise InputError(path, "a Parquet file's footer", "something else")
        data.seek(size - 8 - length)
        footer = data.read(length)
    try:
        groups = _Struct(footer).fields[_ROW_GROUPS]
        return [dict(map(_column, group[_COLUMNS])) for group in groups]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError):
        raise InputError(path, "a Parquet file's footer", "a damaged one") from None


def _column(chunk: dict[int, Any]) -> tuple[str, ColumnChunk]:
    said = chunk[_META_DATA]
    start = min(_number(said[field]) for field in (_DICTIONARY_PAGE, _DATA_PAGE) if field in said)
    greatest = said.get(_STATISTICS, {}).get(_MAX_VALUE)
    if not isinstance(greatest, bytes | None):
        raise TypeError(greatest)
    return b".".join(said[_PATH]).decode(), ColumnChunk(start, start + _number(said[_PACKED_SIZE]), greatest)


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError(value)
    return value


def refuse_large_pages(path: Path, groups: list[dict[str, ColumnChunk]]) -> None:
    """Raise InputError if a page of `path` unpacks to more than `PAGE_BYTES_MAX`, or its header is none.

    Args:
        groups: what `row_groups` says of it.
    """
    with path.open("rb") as data:
        for column in (column for group in groups for column in group.values()):
            for at, size in _pages(path, data.fileno(), column.start, column.end):
                if not 0 <= size <= PAGE_BYTES_MAX:
                    expected = f"pages that unpack to at most {PAGE_BYTES_MAX} bytes"
                    raise InputError(f"{path}: byte {at}", expected, size)


def _pages(path: Path, file: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where each page between two offsets begins, and the bytes that it unpacks to."""
    at = start
    while at < end:
        try:
            header = _Struct(os.pread(file, _HEADER_BYTES, at))
            unpacked, packed = (_number(header.fields.get(field, -1)) for field in (_UNPACKED, _PACKED))
        except (IndexError, TypeError, RecursionError, OSError, OverflowError):
            raise InputError(f"{path}: byte {at}", "the header of a Parquet page", "something else") from None
        yield at, unpacked
        at += header.length + max(packed, 0)


class _Struct:
    """A struct at the beginning of some bytes.

    Attributes:
        fields: by number: truth values, whole numbers, bytes, lists, and structs, which are such tables again.
        length: of the struct in bytes.

    Raises:
        IndexError: it is not whole.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self.length = data, 0
        self.fields = self._struct()

    def _struct(self) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while byte := self._byte():
            number = number + (byte >> 4) if byte >> 4 else self._integer()
            kind = byte & 15
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind)
        return fields

    def _byte(self) -> int:
        self.length += 1
        return self._data[self.length - 1]

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def _integer(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)

    def _bytes(self, size: int) -> bytes:
        self.length += size
        return self._data[self.length - size : self.length]

    def _value(self, kind: int) -> Any:  # noqa: ANN401
        if kind in _INTEGERS:
            return self._integer()
        if kind == _BINARY:
            return self._bytes(self._unsigned())
        if kind in (_LIST, _SET):
            return self._list()
        if kind == _STRUCT:
            return self._struct()
        if kind in (_BYTE, _DOUBLE):
            return self._bytes(1 if kind == _BYTE else 8)
        raise IndexError(kind)

    def _list(self) -> list[Any]:
        head = self._byte()
        kind = _BYTE if head & 15 in (_TRUE, _FALSE) else head & 15
        found: list[Any] = []
        for _ in range(self._unsigned() if head >> 4 == 15 else head >> 4):
            found.append(self._value(kind))
            if self.length > len(self._data):
                raise IndexError(self.length)
        return found
