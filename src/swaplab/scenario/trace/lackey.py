"""Valgrind's lackey: the text of ``valgrind --tool=lackey --trace-mem=yes --log-file=FILE program``.

Loads are reads; stores and modifications are writes. Instruction fetches are skipped: program text is
backed by a file and never swapped. An access that straddles pages touches each of them, in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swaplab.compress.jit import compiled
from swaplab.errors import InputError
from swaplab.scenario.trace.source import Input, RawBatch, Source, constant_stream, line_blocks, page_runs

__all__ = ["read_lackey"]

_SHORTEST_LINE: Final = len(" L 0,1\n")
_MAX_SIZE: Final = 1 << 16  # bytes of one access; the widest instructions save some kilobytes of state

_NEWLINE, _SPACE, _COMMA, _RETURN = (ord(character) for character in "\n ,\r")
_FETCH, _LOAD, _STORE, _MODIFY = (ord(character) for character in "ILSM")
_REMARKS: Final = tuple(ord(character) for character in "=-*")  # "==pid==", "--pid--" and "**pid**" open remarks


def read_lackey(data: Input) -> Source:
    """Read the accesses of `data`.

    Raises:
        InputError: while reading, when a line does not parse (names the line).
    """
    return Source(_batches(data), ["lackey"])


def _batches(data: Input) -> Iterator[RawBatch]:
    for line, text in line_blocks(data):
        room = len(text) // _SHORTEST_LINE + 1
        address, size, write = np.empty(room, np.uint64), np.empty(room, np.uint64), np.empty(room, np.bool_)
        count, bad_line, bad_at = _parse(np.frombuffer(text, np.uint8), address, size, write)
        if bad_at >= 0:
            found = text[bad_at : text.index(b"\n", bad_at)][:60].decode(errors="replace")
            where = f"{data.path}: line {line + bad_line}"
            raise InputError(where, "' L address,size', ' S ...', ' M ...', 'I ...' or '==...'", repr(found))
        yield _touched(address[:count], size[:count], write[:count])


def _touched(address: NDArray[np.uint64], size: NDArray[np.uint64], write: NDArray[np.bool_]) -> RawBatch:
    first, last = address >> np.uint64(12), (address + size - np.uint64(1)) >> np.uint64(12)
    if not np.array_equal(first, last):
        pages = (last - first).astype(np.int64) + 1
        first, write = page_runs(first, pages), np.repeat(write, pages)
    return RawBatch(constant_stream(0, len(first)), first, write, None)


@compiled
def _parse(
    text: NDArray[np.uint8], address: NDArray[np.uint64], size: NDArray[np.uint64], write: NDArray[np.bool_]
) -> tuple[int, int, int]:
    """Parse whole lines into the arrays.

    Returns:
        accesses, number of the first bad line within `text`, its offset (both -1 if all lines are good).
    """
    count, line, at = 0, 0, 0
    while at < len(text):
        if _is_access(text, at):
            value, digits = _hexadecimal(text, at + 3)
            length, end = _decimal(text, digits + 1)
            good = digits > at + 3 and text[digits] == _COMMA and end > digits + 1 and _ends(text, end)
            if not good or not 0 < length <= _MAX_SIZE or value > np.uint64(2**64 - 1) - np.uint64(length - 1):
                return count, line, at
            address[count], size[count], write[count] = value, length, text[at + 1] != _LOAD
            count += 1
        elif not _is_skipped(text, at):
            return count, line, at
        at = _next_line(text, at)
        line += 1
    return count, -1, -1


@compiled
def _is_access(text: NDArray[np.uint8], at: int) -> bool:
    if at + _SHORTEST_LINE > len(text) or text[at] != _SPACE or text[at + 2] != _SPACE:
        return False
    return bool(text[at + 1] in (_LOAD, _STORE, _MODIFY))


@compiled
def _is_skipped(text: NDArray[np.uint8], at: int) -> bool:
    if _ends(text, at):
        return True
    if text[at] == _FETCH:
        return bool(text[at + 1] == _SPACE)
    return bool(text[at] in _REMARKS and text[at + 1] == text[at])


@compiled
def _ends(text: NDArray[np.uint8], at: int) -> bool:
    if at >= len(text):
        return False
    return bool(text[at] == _NEWLINE or (text[at] == _RETURN and text[at + 1] == _NEWLINE))


@compiled
def _next_line(text: NDArray[np.uint8], at: int) -> int:
    while text[at] != _NEWLINE:
        at += 1
    return at + 1


@compiled
def _hexadecimal(text: NDArray[np.uint8], at: int) -> tuple[np.uint64, int]:
    """Read up to 16 digits: the value and where they end."""
    value, start = np.uint64(0), at
    while at < start + 16:
        character = text[at]
        if 48 <= character <= 57:
            digit = character - 48
        elif 97 <= character <= 102:
            digit = character - 87
        else:
            break
        value = (value << np.uint64(4)) | np.uint64(digit)
        at += 1
    return value, at


@compiled
def _decimal(text: NDArray[np.uint8], at: int) -> tuple[int, int]:
    """Read up to 8 digits: the value and where they end."""
    value, start = 0, at
    while at < min(start + 8, len(text)) and 48 <= text[at] <= 57:
        value = value * 10 + int(text[at]) - 48
        at += 1
    return value, at
