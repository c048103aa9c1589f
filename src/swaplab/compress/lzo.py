"""LZO1X-1 for pages, as the kernel's crypto modules "lzo" and "lzo-rle" produce it.

A stream is a sequence of *instructions*: copy `length` bytes from `distance` bytes back, write a run of
zeros, or take literal bytes. Up to three literals that follow a copy are announced in the two low bits of
that copy's last but one byte (last but two of a zero run); more of them are an instruction of their own.
The format is described in Documentation/staging/lzo.rst.

Only whole pages are handled. This keeps every distance below 4096, so of the four copy instructions the
compressor needs the two that reach 2 KiB and 16 KiB; the decompressor understands all of them.

Cited is Linux 6.12.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swaplab.compress.jit import compiled
from swaplab.compress.words import byte_at, equal_until, hash_word, word_at
from swaplab.linux.page import PAGE_SIZE

__all__ = ["compress_lzo", "decompress_lzo"]

# A literal run costs one byte more per 255 of them; the slack covers the header, the tail and the end mark.
OUTPUT_SIZE = PAGE_SIZE + PAGE_SIZE // 16 + 67

HASH_BITS = 13
HASH_MULTIPLIER = 0x1824429D
TAIL = 20  # no match or run starts in the last bytes of a page
FIRST_LITERALS = 4  # the stream has no way to begin with fewer literals than this
SKIP_SHIFT = 5  # without a match, the stride grows by one every 32 bytes

ZERO_RUN_MIN = 4
ZERO_RUN_MAX = 2047 + ZERO_RUN_MIN

VERSION_MARK = 17
RLE_VERSION = 1
SHORT_COPY_LENGTH_MAX = 8
SHORT_COPY_DISTANCE_MAX = 2048
MEDIUM_COPY = 32
MEDIUM_COPY_LENGTH_MAX = 33
FAR_COPY = 16
FAR_COPY_DISTANCE = 16384
END_OF_STREAM = (FAR_COPY | 1, 0, 0)


@compiled
def _zero_run(page: NDArray[np.uint8], at: int, stop: int) -> int:
    """Measure the run of zeros at `at`, of which the caller has seen the first four."""
    end = min(stop, at + ZERO_RUN_MAX)
    position = at + ZERO_RUN_MIN
    while position < end and page[position] == 0:
        position += 1
    return position - at


@compiled
def _match_length(page: NDArray[np.uint8], at: int, earlier: int, stop: int) -> int:
    """Count the bytes at `at` that repeat those at `earlier`, given that the first four do.

    The kernel compares eight bytes at a time and looks at `stop` only after a step, so a match may run up to
    seven bytes past it, and never fewer than twelve bytes are compared.
    """
    steps = max(1, (stop - at - 4 + 7) >> 3)
    return equal_until(page, at + 4, earlier + 4, at + 4 + 8 * steps) - at


@compiled
def _put_length(out: NDArray[np.uint8], end: int, length: int) -> int:
    """Append what did not fit the instruction of a length: a zero for each 255, then the rest."""
    while length > 255:
        out[end] = 0
        end += 1
        length -= 255
    out[end] = length
    return end + 1


@compiled
def _put_literals(out: NDArray[np.uint8], end: int, literals: NDArray[np.uint8], state: int) -> int:
    """Append literals; up to three are announced in the byte at `state`, inside the last instruction."""
    count = literals.size
    if count <= 3:
        out[state] |= count
    elif count <= 18:
        out[end] = count - 3
        end += 1
    else:
        out[end] = 0
        end = _put_length(out, end + 1, count - 18)
    for literal in literals:
        out[end] = literal
        end += 1
    return end


@compiled
def _put_zero_run(out: NDArray[np.uint8], end: int, length: int) -> int:
    """Append a run of zeros: a far copy of the one distance that version 1 gives this meaning."""
    extra = length - ZERO_RUN_MIN
    out[end] = FAR_COPY | 8 | (extra & 7)
    out[end + 1] = 0xFC
    out[end + 2] = 0xFF
    out[end + 3] = extra >> 3
    return end + 4


@compiled
def _put_copy(out: NDArray[np.uint8], end: int, length: int, distance: int) -> int:
    """Append a copy; the literal count of its last but one byte is still zero."""
    back = distance - 1
    if length <= SHORT_COPY_LENGTH_MAX and distance <= SHORT_COPY_DISTANCE_MAX:
        out[end] = ((length - 1) << 5) | ((back & 7) << 2)
        out[end + 1] = back >> 3
        return end + 2
    if length <= MEDIUM_COPY_LENGTH_MAX:
        out[end] = MEDIUM_COPY | (length - 2)
        end += 1
    else:
        out[end] = MEDIUM_COPY
        end = _put_length(out, end + 1, length - MEDIUM_COPY_LENGTH_MAX)
    out[end] = (back << 2) & 0xFF
    out[end + 1] = back >> 6
    return end + 2


@compiled
def _compress(page: NDArray[np.uint8], out: NDArray[np.uint8], seen: NDArray[np.uint16], rle: bool) -> int:
    """Compress `page` into `out`; `seen` (zeros) remembers positions by hash. Returns the length."""
    stop = page.size - TAIL
    end = 0
    if rle:
        out[0], out[1] = VERSION_MARK, RLE_VERSION
        end = 2
    state = end
    literals = 0  # where the literals that are not written yet begin
    at = FIRST_LITERALS + 1
    while at < stop:
        word = word_at(page, at)
        if rle and word == 0:
            end = _put_literals(out, end, page[literals:at], state)
            length = _zero_run(page, at, stop)
            end = _put_zero_run(out, end, length)
            state = end - 3
        else:
            slot = hash_word(word, HASH_MULTIPLIER, HASH_BITS)
            earlier = int(np.int64(seen[slot]))
            seen[slot] = at
            if word != word_at(page, earlier):
                at += 1 + ((at - literals) >> SKIP_SHIFT)
                continue
            end = _put_literals(out, end, page[literals:at], state)
            length = _match_length(page, at, earlier, stop)
            end = _put_copy(out, end, length, at - earlier)
            state = end - 2
        at += length
        literals = at
    end = _put_literals(out, end, page[literals:], state)
    for byte in END_OF_STREAM:
        out[end] = byte
        end += 1
    return end


@compiled
def _get_length(data: NDArray[np.uint8], at: int, bits: int) -> tuple[int, int]:
    """Read a length of `bits` bits at `at` - 1, continued by further bytes if it is zero.

    Returns:
        The length and where reading goes on, which is past the end of the data if that came too early.
    """
    full = (1 << bits) - 1
    length = byte_at(data, at - 1) & full
    if length:
        return length, at
    while at < data.size and data[at] == 0:
        full += 255
        at += 1
    if at >= data.size:
        return 0, at + 1
    return full + byte_at(data, at), at + 1


@compiled
def _get_copy(data: NDArray[np.uint8], at: int, literals: int, rle: bool) -> tuple[int, int, int, int]:
    """Decode the copy whose first byte is before `at`.

    Args:
        data: the stream.
        at: where the second byte of the instruction is.
        literals: how many came just before, 4 for more than three: it gives bytes 1..15 their meaning.
        rle: whether there are zero runs.

    Returns:
        Length; distance, which is -1 for a zero run and 0 for the end of the stream; how many literals
        follow; and where reading goes on, which is past the end of the data if that came too early.
    """
    broken = (0, 0, 0, data.size + 1)
    if at >= data.size:
        return broken
    code, low = byte_at(data, at - 1), byte_at(data, at)
    if code >= 64:
        return (code >> 5) + 1, (low << 3) + ((code >> 2) & 7) + 1, code & 3, at + 1
    if code < 16:
        base, length = (SHORT_COPY_DISTANCE_MAX, 3) if literals == 4 else (0, 2)
        return length, base + (low << 2) + (code >> 2) + 1, code & 3, at + 1
    is_far = code < 32
    length, at_distance = _get_length(data, at, 3 if is_far else 5)
    if rle and (code & 0xF8) == 0x18 and at + 2 < data.size:
        word = low | (byte_at(data, at + 1) << 8)
        if word >= 0xFFFC:
            return (code & 7) + (byte_at(data, at + 2) << 3) + ZERO_RUN_MIN, -1, word & 3, at + 3
    if at_distance + 1 >= data.size:
        return broken
    word = byte_at(data, at_distance) | (byte_at(data, at_distance + 1) << 8)
    distance = word >> 2
    if not is_far:
        distance += 1
    elif distance or code & 8:
        distance += FAR_COPY_DISTANCE + ((code & 8) << 11)
    return length + 2, distance, word & 3, at_distance + 2


@compiled
def _take_literals(data: NDArray[np.uint8], at: int, page: NDArray[np.uint8], end: int, count: int) -> bool:
    """Copy literals to the page, if there are that many and there is room for them."""
    if at + count > data.size or end + count > page.size:
        return False
    for i in range(count):
        page[end + i] = data[at + i]
    return True


@compiled
def _take_copy(page: NDArray[np.uint8], end: int, length: int, distance: int) -> bool:
    """Repeat earlier bytes, or write zeros for distance -1, if there is room and those bytes exist."""
    if end + length > page.size or distance > end:
        return False
    for i in range(end, end + length):
        page[i] = 0 if distance < 0 else page[i - distance]
    return True


@compiled
def _decompress(data: NDArray[np.uint8], page: NDArray[np.uint8]) -> bool:
    """Fill `page` from `data`; False if the stream is broken or does not fill the page exactly."""
    at, end, literals = 0, 0, 0
    rle = data.size >= 5 and data[0] == VERSION_MARK and data[1] != 0
    if data.size >= 5 and data[0] == VERSION_MARK:
        at = 2
    is_first = True
    while at < data.size:
        code = byte_at(data, at)
        at += 1
        if is_first and code > VERSION_MARK:
            count = code - VERSION_MARK
        elif code < 16 and literals == 0:
            count, at = _get_length(data, at, 4)
            count += 3
        else:
            length, distance, count, at = _get_copy(data, at, literals, rle)
            if distance == 0:
                return at == data.size and length == 3 and end == page.size
            if not _take_copy(page, end, length, distance):
                return False
            end += length
        if not _take_literals(data, at, page, end, count):
            return False
        at, end, literals, is_first = at + count, end + count, min(count, 4), False
    return False


def compress_lzo(page: bytes, rle: bool) -> bytes:
    """Compress one page of 4096 bytes: lib/lzo/lzo1x_compress.c:lzogeneric1x_1_compress.

    Args:
        page: 4096 bytes.
        rle: bitstream version 1, which codes runs of zeros.
    """
    out = np.zeros(OUTPUT_SIZE, np.uint8)
    length = _compress(np.frombuffer(page, np.uint8), out, np.zeros(1 << HASH_BITS, np.uint16), rle)
    return out[:length].tobytes()


def decompress_lzo(data: bytes) -> bytes:
    """Restore the page of 4096 bytes: lib/lzo/lzo1x_decompress_safe.c:lzo1x_decompress_safe.

    Both bitstream versions are understood, by what the data says.

    Raises:
        ValueError: the data is no such stream, or not of exactly one page.
    """
    page = np.empty(PAGE_SIZE, np.uint8)
    if not _decompress(np.frombuffer(data, np.uint8), page):
        raise ValueError(f"{len(data)} bytes are not a page compressed with LZO1X")
    return page.tobytes()
