"""The size of a page (arch/x86/include/asm/page_types.h)."""

from __future__ import annotations

__all__ = ["PAGE_SHIFT", "PAGE_SIZE"]

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
