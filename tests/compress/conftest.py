"""Pages of many kinds, the same on every machine and with every version of every library."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

import pytest

WORDS = b"the kernel swaps a page out and in again while nobody looks at what it holds".split()


def noise(label: str, size: int = 4096) -> bytes:
    return hashlib.shake_256(label.encode()).digest(size)


def text(label: str) -> bytes:
    return b" ".join(WORDS[byte % len(WORDS)] for byte in noise(label, 1500))[:4096].ljust(4096)


def pointers(label: str, bits: int) -> bytes:
    return b"".join(
        struct.pack("<Q", (0x7F31_0000_0000 + int.from_bytes(noise(f"{label}{i}", bits // 8))) * (i % 3 > 0))
        for i in range(512)
    )


def sparse(label: str, count: int) -> bytes:
    page = bytearray(4096)
    for i in range(count):
        at, value = struct.unpack("<HB", noise(f"{label}{i}", 3))
        page[at % 4096] = value
    return bytes(page)


def runs(label: str, scale: int) -> bytes:
    page, source = b"", noise(label, 8192)
    for kind, value, size in zip(source[0::3], source[1::3], source[2::3], strict=False):
        length = 1 + size * scale // 64
        page += bytes([value * (kind % 3 == 1)]) * length if kind % 3 else noise(f"{label}{len(page)}", length)
    return page[:4096].ljust(4096, b"\1")


def alphabet(label: str, size: int) -> bytes:
    return bytes(byte % size for byte in noise(label))


def generate() -> Iterator[tuple[str, bytes]]:
    yield "zeros", bytes(4096)
    yield "ones", b"\xff" * 4096
    yield "word", struct.pack("<Q", 0x0123_4567_89AB_CDEF) * 512
    yield "noise", noise("noise")
    yield "noise then zeros", noise("half", 2048) + bytes(2048)
    yield "zeros then noise", bytes(2048) + noise("half", 2048)
    yield "far repeat", noise("far", 2100) + noise("far", 1996)
    yield "near repeat", noise("near", 100) * 40 + noise("near", 96)
    yield "counting", b"".join(struct.pack("<I", i) for i in range(1024))
    yield "first byte", b"\1" + bytes(4095)
    yield "last byte", bytes(4095) + b"\1"
    for tail in (1, 3, 4, 5, 12, 13, 19, 20, 21):
        yield f"tail {tail}", bytes(4096 - tail) + noise("tail", tail)
        yield f"head {tail}", noise("head", tail) + b"\7" * (4096 - tail)
    for i in range(6):
        yield f"text {i}", text(f"text {i}")
        yield f"pointers {i}", pointers(f"pointers {i}", 8 + 8 * (i % 5))
        yield f"sparse {i}", sparse(f"sparse {i}", 3 << 2 * i)
        yield f"runs {i}", runs(f"runs {i}", 1 << i)
        yield f"alphabet {i}", alphabet(f"alphabet {i}", 2 << i)


@pytest.fixture(scope="session")
def varied_pages() -> dict[str, bytes]:
    """Every kind of page by name."""
    pages = dict(generate())
    assert all(len(page) == 4096 for page in pages.values())
    return pages
