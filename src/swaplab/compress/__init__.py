"""The kernel's compressors, byte for byte where that can be had, and what they make of a page."""

from __future__ import annotations

from swaplab.compress.compressors import compress, decompress
from swaplab.compress.lengths import compressed_lengths

__all__ = ["compress", "compressed_lengths", "decompress"]
