"""How much memory a Parquet file takes to read, told before it is read: each page's header says what it unpacks to.

Compression makes a page of gigabytes from a few kilobytes, and a reader unpacks pages whole. What the footer says of
them need not be so; the headers are what the reader goes by. They are structs in Thrift's compact protocol.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from swaplab.errors import InputError
from swaplab.scenario.regular import open_regular

__all__ = ["PAGE_BYTES_MAX", "open_parquet", "refuse_large_pages"]

PAGE_BYTES_MAX: Final = 1 << 24  # unpacked; writers make pages of one megabyte
_HEADER_BYTES: Final = 1 << 16
_UNPACKED, _PACKED = 2, 3  # fields of a PageHeader
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS: Final = (4, 5, 6)


def open_parquet(path: Path, where: object) -> pa.NativeFile:
    """Open a file for Arrow, which by itself opens none whose name is not UTF-8, and may take a name for an address.

    Raises:
        InputError: a pipe, a device, a directory.
        OSError: the file cannot be read.
    """
    with open_regular(path, where):
        return pa.OSFile(os.fsencode(path))


def refuse_large_pages(path: Path, metadata: pq.FileMetaData) -> None:
    """Raise InputError if a page of `path` unpacks to more than `PAGE_BYTES_MAX`, or its header is none."""
    with path.open("rb") as data:
        for group in range(metadata.num_row_groups):
            row_group = metadata.row_group(group)
            for number in range(row_group.num_columns):
                column = row_group.column(number)
                starts = (column.dictionary_page_offset, column.data_page_offset)
                start = min(offset for offset in starts if offset is not None)
                for at, size in _pages(path, data.fileno(), start, start + column.total_compressed_size):
                    if not 0 <= size <= PAGE_BYTES_MAX:
                        expected = f"pages that unpack to at most {PAGE_BYTES_MAX} bytes"
                        raise InputError(f"{path}: byte {at}", expected, size)


def _pages(path: Path, file: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where each page between two offsets begins, and the bytes that it unpacks to."""
    at = start
    while at < end:
        try:
            header = _Header(os.pread(file, _HEADER_BYTES, at))
        except (IndexError, RecursionError, OSError):
            raise InputError(f"{path}: byte {at}", "the header of a Parquet page", "something else") from None
        yield at, header.unpacked
        at += header.length + max(header.packed, 0)


class _Header:
    """Sizes in a PageHeader.

    Raises:
        IndexError: it is not whole.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self.length = data, 0
        sizes = {_UNPACKED: -1, _PACKED: -1}
        for field, kind in self._fields():
            if field in sizes and kind in _INTEGERS:
                sizes[field] = self._integer()
            else:
                self._skip(kind)
        self.unpacked, self.packed = sizes[_UNPACKED], sizes[_PACKED]

    def _fields(self) -> Iterator[tuple[int, int]]:
        """Yield number and kind of each field of a struct, whose value comes next."""
        number = 0
        while byte := self._byte():
            number = number + (byte >> 4) if byte >> 4 else self._integer()
            yield number, byte & 15

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

    def _skip(self, kind: int) -> None:
        if kind in _INTEGERS:
            self._unsigned()
        elif kind in (_BYTE, _DOUBLE, _BINARY):
            size = self._unsigned() if kind == _BINARY else 8 if kind == _DOUBLE else 1
            self.length += size
        elif kind in (_LIST, _SET):
            self._skip_items()
        elif kind == _STRUCT:
            for _, inner in self._fields():
                self._skip(inner)
        elif kind not in (_TRUE, _FALSE):
            raise IndexError(kind)

    def _skip_items(self) -> None:
        head = self._byte()
        for _ in range(self._unsigned() if head >> 4 == 15 else head >> 4):
            self._skip(_BYTE if head & 15 in (_TRUE, _FALSE) else head & 15)
            if self.length > len(self._data):
                raise IndexError(self.length)
