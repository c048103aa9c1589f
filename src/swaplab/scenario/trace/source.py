"""Shared parts of readers of foreign formats: inputs, compressed or not, in pieces of bounded size."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Final, NamedTuple, Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.scenario.regular import open_regular

__all__ = ["BATCH_ROWS", "Input", "RawBatch", "Source", "constant_stream", "line_blocks", "page_runs"]

BATCH_ROWS: Final = 1 << 18
_BLOCK_BYTES: Final = 1 << 20
UNPACKED_FREE: Final = 1 << 30
UNPACKED_RATIO: Final = 1000
_MAGIC: Final = {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b\x08": "gzip"}


class RawBatch(NamedTuple):
    """Accesses in order, arrays of equal shape ``(n,)``: `page` is address >> 12 or an id, `time` in ns."""

    stream: NDArray[np.uint16]
    page: NDArray[np.uint64]
    write: NDArray[np.bool_]
    time: NDArray[np.int64] | None


@dataclass
class Source:
    """A foreign trace being read.

    Attributes:
        batches: the accesses.
        streams: names by number; complete once `batches` is exhausted.
        with_time: whether batches carry times.
        addresses: whether pages are those of addresses, rather than ids of objects.
    """

    batches: Iterator[RawBatch]
    streams: list[str] = field(default_factory=list)
    with_time: bool = False
    addresses: bool = True


class Input:
    """A file read once, front to back, through what its content is compressed with (zstd, gzip or zlib).

    Whoever reads it takes as long as it has bytes. So they have to be there: a hole has any number of zeros for
    nothing, and so has what unpacks to far more than it takes.

    Raises:
        InputError: not a regular file, or one with a hole.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._raw = open_regular(path, path)
        self.size = self._raw.seek(0, 2)
        self._refuse_hole()
        self._raw.seek(0)
        self._data = _decompressed(self._raw)
        self._unpacked = 0

    def _refuse_hole(self) -> None:
        with suppress(OSError):  # an empty file, or a file system that does not tell
            hole = os.lseek(self._raw.fileno(), 0, os.SEEK_HOLE)
            if hole < self.size:
                self._raw.close()
                raise InputError(f"{self.path}: byte {hole}", "data to the end", "a hole, which reads as zeros")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._raw.close()

    def position(self) -> int:
        """Bytes of the file read so far, before decompression."""
        return self._raw.tell()

    def read(self, size: int) -> bytes:
        """Read `size` bytes, fewer only at the end.

        Raises:
            InputError: the compressed data is damaged, ends early or unpacks to too much.
        """
        pieces, missing = [], size
        try:
            while missing and (piece := self._data.read(missing)):
                pieces.append(piece)
                missing -= len(piece)
                self._count(len(piece))
        except (pa.ArrowException, zlib.error, EOFError) as error:
            raise InputError(self.path, "whole compressed data", error) from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise InputError(self.path, "whole compressed data", error) from None
        return b"".join(pieces)

    def _count(self, size: int) -> None:
        self._unpacked += size
        if self._unpacked > UNPACKED_FREE + UNPACKED_RATIO * self.position():
            expected = f"data that unpacks to at most {UNPACKED_FREE} bytes and {UNPACKED_RATIO} times its own size"
            raise InputError(f"{self.path}: byte {self.position()}", expected, self._unpacked)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Zlib:
    """Streaming zlib: what damo writes, which neither Python nor Arrow opens as a file."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._state = zlib.decompressobj()

    def read(self, size: int) -> bytes:
        while not self._state.eof:
            data = self._state.unconsumed_tail or self._raw.read(_BLOCK_BYTES)
            if not data:
                raise EOFError("the end in the middle of the data")
            if piece := self._state.decompress(data, size):
                return piece
        return b""


def _decompressed(raw: IO[bytes]) -> _Readable:
    head = raw.read(512)
    raw.seek(0)
    for magic, codec in _MAGIC.items():
        if head.startswith(magic):
            packed: _Readable = pa.CompressedInputStream(pa.PythonFile(raw, "r"), codec)
            return packed
    return _Zlib(raw) if _is_zlib_json(head) else raw


def _is_zlib_json(head: bytes) -> bool:
    # Two bytes of zlib header alone would be too weak a sign: binary traces start with any bytes.
    try:
        return zlib.decompressobj().decompress(head, 64).lstrip().startswith(b"[")
    except zlib.error:
        return False


def line_blocks(data: Input) -> Iterator[tuple[int, bytes]]:
    """Yield ``(number of the first line, text)``, whole lines of about a megabyte; lines count from 1.

    Raises:
        InputError: a line longer than a megabyte.
    """
    line, rest = 1, b""
    while piece := data.read(_BLOCK_BYTES):
        if len(piece) < _BLOCK_BYTES and not piece.endswith(b"\n"):
            piece += b"\n"
        whole, newline, tail = piece.rpartition(b"\n")
        if newline:
            text = rest + whole + newline
            yield line, text
            line += text.count(b"\n")
            rest = tail
        else:
            rest += piece
        if len(rest) > _BLOCK_BYTES:
            raise InputError(f"{data.path}: line {line}", f"at most {_BLOCK_BYTES} bytes", "a longer line")
    if rest:
        yield line, rest + b"\n"


def page_runs(first: NDArray[np.uint64], pages: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Lay out runs of pages one after another: ``first[i], first[i] + 1, ...``, ``pages[i]`` of them."""
    begin = np.cumsum(pages) - pages
    offset = np.arange(int(pages.sum()), dtype=np.int64) - np.repeat(begin, pages)
    return np.repeat(first, pages) + offset.astype(np.uint64)


def constant_stream(number: int, rows: int) -> NDArray[np.uint16]:
    """Return the stream column of `rows` accesses of one stream."""
    return np.full(rows, number, np.uint16)
