from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import threading
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from swaplab.compress import compress, decompress
from swaplab.compress.compressors import ZSTD_PARAMETERS_72
from swaplab.compress.lzo import decompress_lzo
from swaplab.linux.crypto import COMPRESSORS

# Taken from the kernel's own C code (lib/lzo, lib/lz4, lib/zstd and lib/zlib_deflate of 6.12, built for user
# space, with the parameters of crypto/*.c) on the pages of conftest.py: SHA-256 over all the outputs.
KERNEL_DIGESTS = {
    "lzo": "2d7070125ba4ed1d4d5669da37130bc16c2aef0225ec19051d811363ccc92727",
    "lzo-rle": "446d1bd67b836eaf9c7a8396586a5d178fbb9289ccdaad52ece94b7da719c3c0",
    "lz4": "2181e50a06a085945a5b7e62c5dcc51466dc029eb1b320401a9b24fa9a1afb7a",
    "deflate": "a8f11320cdee492864cc1a6951ae09b23740d37205efae1edf71b35f14055054",
}
# From the same place: the lengths of the first eleven pages, to read.
KERNEL_LENGTHS = {
    "lzo": [44, 44, 53, 4116, 2213, 2077, 2149, 150, 4116, 44, 44],
    "lzo-rle": [41, 46, 55, 4118, 2150, 2072, 2151, 152, 4118, 41, 41],
    "lz4": [26, 26, 33, 4114, 2082, 2069, 2126, 126, 4105, 27, 26],
    "deflate": [20, 20, 37, 4142, 2110, 2111, 4135, 145, 1447, 21, 21],
}
# And all of zstd's.
KERNEL_ZSTD_LENGTHS = [
    19,
    19,
    25,
    4106,
    2075,
    2068,
    2121,
    120,
    1955,
    19,
    20,
    20,
    19,
    22,
    21,
    23,
    22,
    24,
    23,
    31,
    30,
    32,
    31,
    38,
    37,
    39,
    38,
    40,
    39,
    1011,
    442,
    31,
    3326,
    829,
    1012,
    800,
    61,
    2401,
    1355,
    1000,
    1122,
    187,
    2058,
    1646,
    1002,
    1474,
    578,
    1599,
    2082,
    993,
    2181,
    1419,
    1792,
    2602,
    993,
    446,
    2851,
    1531,
    3130,
]

half_random = st.builds(
    lambda parts: b"".join(parts)[:4096].ljust(4096, b"\0"),
    st.lists(
        st.builds(lambda data, times: data * times, st.binary(min_size=1, max_size=64), st.integers(1, 300)),
        max_size=40,
    ),
)


def stock_zlib() -> bool:
    return "ng" not in zlib.ZLIB_RUNTIME_VERSION


@pytest.mark.parametrize("name", KERNEL_DIGESTS)
def test_bytes_are_the_kernels(name: str, varied_pages: dict[str, bytes]) -> None:
    if name == "deflate" and not stock_zlib():
        pytest.skip("this Python has another zlib")
    outputs = [compress(name, page) for page in varied_pages.values()]
    assert [len(output) for output in outputs[:11]] == KERNEL_LENGTHS[name]
    assert hashlib.sha256(b"".join(outputs)).hexdigest() == KERNEL_DIGESTS[name]


def test_zstd_comes_close_to_the_kernels(varied_pages: dict[str, bytes]) -> None:
    lengths = [len(compress("zstd", page)) for page in varied_pages.values()]
    for ours, theirs in zip(lengths, KERNEL_ZSTD_LENGTHS, strict=True):
        assert abs(ours - theirs) <= 4 + 0.02 * theirs
    assert abs(sum(lengths) / sum(KERNEL_ZSTD_LENGTHS) - 1) < 0.002


def test_zstd_of_7_2_is_fit_for_a_source_of_256_kilobytes(varied_pages: dict[str, bytes]) -> None:
    """crypto/zstd.c:zstd_alloc_stream of 7.2; the library has the same table of levels."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, source_size=1 << 18)
    chosen = {
        name: getattr(parameters, name) for name in ("window_log", "chain_log", "hash_log", "min_match", "strategy")
    }
    assert chosen.items() <= ZSTD_PARAMETERS_72.items()
    pages = varied_pages.values()
    assert sum(len(compress("zstd", page, "7.2")) for page in pages) != sum(
        len(compress("zstd", page)) for page in pages
    )
    assert all(decompress("zstd", compress("zstd", page, "7.2")) == page for page in pages)


def test_zstd_frame_has_the_kernels_header(varied_pages: dict[str, bytes]) -> None:
    # Magic number; one segment, two bytes of content size, no checksum, no dictionary; 4096 - 256.
    assert compress("zstd", varied_pages["text 0"])[:7] == struct.pack("<IBH", 0xFD2FB528, 0x60, 4096 - 256)


@pytest.mark.parametrize("name", COMPRESSORS)
def test_pages_come_back(name: str, varied_pages: dict[str, bytes]) -> None:
    for page in varied_pages.values():
        assert decompress(name, compress(name, page)) == page


@given(page=half_random, name=st.sampled_from(COMPRESSORS))
def test_any_page_comes_back(page: bytes, name: str) -> None:
    assert decompress(name, compress(name, page)) == page


@given(page=half_random, name=st.sampled_from(COMPRESSORS), where=st.floats(0, 1), flip=st.integers(1, 255))
def test_damage_is_an_error_or_another_page(page: bytes, name: str, where: float, flip: int) -> None:
    data = bytearray(compress(name, page))
    data[round(where * (len(data) - 1))] ^= flip
    try:
        restored = decompress(name, bytes(data))
    except ValueError:
        return
    assert len(restored) == 4096


@pytest.mark.parametrize("name", COMPRESSORS)
def test_every_truncation_is_an_error(name: str, varied_pages: dict[str, bytes]) -> None:
    data = compress(name, varied_pages["head 20"])
    for length in range(len(data)):
        with pytest.raises(ValueError, match="page"):
            decompress(name, data[:length])


@pytest.mark.parametrize("name", COMPRESSORS)
def test_trailing_bytes_are_an_error(name: str, varied_pages: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match="page"):
        decompress(name, compress(name, varied_pages["text 0"]) + b"\0")


@given(st.binary(max_size=300))
def test_lzo_reads_and_writes_nothing_outside(data: bytes) -> None:
    try:
        page = decompress_lzo(data)
    except ValueError:
        return
    assert len(page) == 4096


def test_lzo_understands_the_copies_that_the_compressor_never_needs() -> None:
    literals = bytes(range(1, 239))
    stream = (
        bytes([17, 1, 17 + 238])
        + literals
        + struct.pack("<BHB", 0x18 | 7, 0xFFFC | 1, 0xFF)  # 2051 zeros, and one literal
        + b"x"
        + bytes([1 << 2, 0])  # after one to three literals: two bytes from two back
        + bytes([1])  # after none: four literals
        + b"abcd"
        + bytes([2 << 2, 3])  # after more than three: three bytes from 2049 + 2 + 12 back
        + struct.pack("<BHB", 0x18 | 1, 0xFFFC, 224)  # zeros to the end
        + bytes([17, 0, 0])
    )
    page = literals + bytes(2051) + b"x" + b"\0x" + b"abcd"
    page += page[-2063:-2060]
    assert decompress_lzo(stream) == page.ljust(4096, b"\0")


@pytest.mark.parametrize("copy", ["40 00", "21 00 00", "11 04 00", "19 00 00"])
def test_lzo_refuses_a_copy_from_before_the_page(copy: str) -> None:
    with pytest.raises(ValueError, match="LZO1X"):
        decompress_lzo(bytes([17, 0]) + bytes.fromhex(copy) + bytes([17, 0, 0]))


def test_a_zstd_frame_cannot_ask_for_memory() -> None:
    frame = zstandard.ZstdCompressor().compress(bytes(1 << 24))
    with pytest.raises(ValueError, match="16777216"):
        decompress("zstd", frame)


def test_a_deflate_stream_cannot_ask_for_memory() -> None:
    stream = zlib.compressobj(wbits=-11)
    with pytest.raises(ValueError, match="page"):
        decompress("deflate", stream.compress(bytes(1 << 24)) + stream.flush())


def test_wrong_names_and_sizes_are_errors() -> None:
    with pytest.raises(ValueError, match="lzo-rle"):
        compress("842", bytes(4096))
    with pytest.raises(ValueError, match="lzo-rle"):
        decompress("842", b"")
    with pytest.raises(ValueError, match="4095"):
        compress("lz4", bytes(4095))


def test_threads_share_nothing(varied_pages: dict[str, bytes]) -> None:
    alone = {name: [compress(name, page) for page in varied_pages.values()] for name in COMPRESSORS}
    together: list[dict[str, list[bytes]]] = []

    def work() -> None:
        together.append({name: [compress(name, page) for page in varied_pages.values()] for name in COMPRESSORS})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [alone] * 4


INTERPRETED = """
import hashlib, sys
from swaplab.compress import compress, decompress
pages = [sys.stdin.buffer.read(4096) for _ in range(int(sys.argv[1]))]
for name in ("lzo", "lzo-rle", "lz4"):
    outputs = [compress(name, page) for page in pages]
    assert [decompress(name, output) for output in outputs] == pages
    print(hashlib.sha256(b"".join(outputs)).hexdigest())
"""


def test_interpreted_code_gives_the_same_bytes(varied_pages: dict[str, bytes]) -> None:
    pages = list(varied_pages.values())[::3]
    done = subprocess.run(  # noqa: S603 - our own interpreter, our own code
        [sys.executable, "-W", "error", "-c", INTERPRETED, str(len(pages))],
        input=b"".join(pages),
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    expected = [
        hashlib.sha256(b"".join(compress(name, page) for page in pages)).hexdigest()
        for name in ("lzo", "lzo-rle", "lz4")
    ]
    assert done.stdout.decode().split() == expected
