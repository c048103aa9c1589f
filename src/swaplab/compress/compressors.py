"""The five compressors that Linux offers zswap, by the names of its crypto API: as in 6.12, and zstd as in 7.2 as well.

lzo, lzo-rle and lz4 are written for this package, deflate is Python's zlib: these four gave exactly the
bytes of the kernel's own C code, over thousands of varied pages. zstd is the `zstandard` library with the
kernel's parameters.

Differs: that library holds another zstd than 6.12's 1.5.2 and 7.2's 1.5.7. Over those pages three quarters came out the
same as in 6.12, the mean length differed by 0.02 %, and 98.5 % of the pages went to the same zsmalloc class.
Differs: zswap gives a compressor 4096 bytes of room, and one that needs more fails (crypto/scompress.c:
scomp_acomp_comp_decomp). Here a result may be longer than that; it is the caller that refuses it.
"""

from __future__ import annotations

import threading
import zlib

import zstandard

from swaplab.compress.lz4 import compress_lz4, decompress_lz4
from swaplab.compress.lzo import compress_lzo, decompress_lzo
from swaplab.linux.crypto import COMPRESSORS
from swaplab.linux.page import PAGE_SIZE
from swaplab.linux.release import Modelled

__all__ = ["compress", "compressor_version", "decompress"]


# crypto/deflate.c; the memory level is MAX_MEM_LEVEL of include/linux/zconf.h.
DEFLATE_WINDOW_BITS = 11
DEFLATE_MEMORY_LEVEL = 8

# crypto/zstd.c:zstd_params: level 3 for a source of unknown size, handed on one by one
# (lib/zstd/zstd_compress_module.c:zstd_cctx_init); the library then fits them to the page, as the kernel's
# does.
ZSTD_PARAMETERS = {
    "window_log": 21,
    "chain_log": 16,
    "hash_log": 17,
    "search_log": 1,
    "min_match": 5,
    "target_length": 0,
    "strategy": zstandard.STRATEGY_DFAST,
    "write_content_size": 1,
    "write_checksum": 0,
    "write_dict_id": 0,
}
# The same of 7.2, whose source is said to be of 2**18 bytes.
ZSTD_PARAMETERS_72 = ZSTD_PARAMETERS | {"window_log": 18, "hash_log": 16, "min_match": 4}


class _ZstdContexts(threading.local):
    """A compression and a decompression context for each thread: they must not be shared."""

    def __init__(self) -> None:
        self.compressors = {
            release: zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(**parameters))
            for release, parameters in (("6.12", ZSTD_PARAMETERS), ("7.2", ZSTD_PARAMETERS_72))
        }
        self.decompressor = zstandard.ZstdDecompressor()


_zstd = _ZstdContexts()


def _compress_deflate(page: bytes) -> bytes:
    stream = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -DEFLATE_WINDOW_BITS, DEFLATE_MEMORY_LEVEL)
    return stream.compress(page) + stream.flush()


def _decompress_deflate(data: bytes) -> bytes:
    stream = zlib.decompressobj(-DEFLATE_WINDOW_BITS)
    try:
        page = stream.decompress(data, PAGE_SIZE + 1)
    except zlib.error as error:
        raise ValueError(f"{len(data)} bytes are not a page compressed with deflate: {error}") from None
    if len(page) != PAGE_SIZE or not stream.eof or stream.unused_data:
        raise ValueError(f"{len(data)} bytes are not exactly one page compressed with deflate")
    return page


def _decompress_zstd(data: bytes) -> bytes:
    try:
        size = zstandard.frame_content_size(data)
        page = _zstd.decompressor.decompress(data, allow_extra_data=False) if size == PAGE_SIZE else b""
    except zstandard.ZstdError as error:
        raise ValueError(f"{len(data)} bytes are not a page compressed with zstd: {error}") from None
    if size != PAGE_SIZE:  # checked before the library takes memory for what the header claims
        raise ValueError(f"{len(data)} bytes are a zstd frame of {size} bytes, not of a page")
    return page


def compress(name: str, page: bytes, release: Modelled = "6.12") -> bytes:
    """Compress one page of 4096 bytes as a release of Linux does. The result may be longer than the page.

    Raises:
        ValueError: no such compressor, or not a page.
    """
    if len(page) != PAGE_SIZE:
        raise ValueError(f"a page has {PAGE_SIZE} bytes, this has {len(page)}")
    match name:
        case "lzo" | "lzo-rle":
            return compress_lzo(page, rle=name == "lzo-rle")
        case "lz4":
            return compress_lz4(page)
        case "zstd":
            return _zstd.compressors[release].compress(page)
        case "deflate":
            return _compress_deflate(page)
    raise ValueError(f"no compressor {name!r}; there are {', '.join(COMPRESSORS)}")


def decompress(name: str, data: bytes) -> bytes:
    """Restore the page of 4096 bytes that `compress` took.

    Raises:
        ValueError: no such compressor, or corrupt data.
    """
    match name:
        case "lzo" | "lzo-rle":
            return decompress_lzo(data)
        case "lz4":
            return decompress_lz4(data)
        case "zstd":
            return _decompress_zstd(data)
        case "deflate":
            return _decompress_deflate(data)
    raise ValueError(f"no compressor {name!r}; there are {', '.join(COMPRESSORS)}")


def compressor_version(name: str, release: Modelled = "6.12") -> str:
    """Name what the bytes depend on besides the page: the version of the code or of the library, and its parameters."""
    match name:
        case "zstd":
            as_in = "" if release == "6.12" else f" as in {release}"
            return f"zstandard {zstandard.__version__} zstd {zstandard.ZSTD_VERSION}{as_in}"
        case "deflate":
            return f"zlib {zlib.ZLIB_RUNTIME_VERSION}"
    return "linux 6.12"
