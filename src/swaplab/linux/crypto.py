"""The compressors that zswap may use, by the names of the kernel's crypto API (crypto/*.c:cra_name)."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["COMPRESSORS", "Compressor"]

Compressor = Literal["lzo", "lzo-rle", "lz4", "zstd", "deflate"]
COMPRESSORS: tuple[Compressor, ...] = get_args(Compressor)
