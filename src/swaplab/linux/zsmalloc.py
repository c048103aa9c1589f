"""zsmalloc's size classes (mm/zsmalloc.c, 6.12): where an object of some length goes, and what that takes.

A *class* serves one range of sizes; it lays its objects end to end over a chain of pages, a *zspage*, of the length
that wastes least. Classes whose zspages hold equally many objects in equally many pages are one class, with the larger
size.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swaplab.linux.page import PAGE_SIZE

__all__ = [
    "SERVING",
    "SIZE_CLASSES",
    "ZS_HANDLE_SIZE",
    "ZS_MAX_ALLOC_SIZE",
    "ZS_SIZE_CLASSES",
    "SizeClass",
    "class_of_length",
    "class_of_size",
]

ZS_MIN_ALLOC_SIZE = 32
ZS_MAX_ALLOC_SIZE = PAGE_SIZE
ZS_SIZE_CLASS_DELTA = PAGE_SIZE >> 8
ZS_SIZE_CLASSES = (ZS_MAX_ALLOC_SIZE - ZS_MIN_ALLOC_SIZE + ZS_SIZE_CLASS_DELTA - 1) // ZS_SIZE_CLASS_DELTA + 1
ZS_MAX_PAGES_PER_ZSPAGE = 8  # CONFIG_ZSMALLOC_CHAIN_SIZE
ZS_HANDLE_SIZE = 8  # in front of an object, except that the huge class keeps it in struct page


class SizeClass(NamedTuple):
    """A class after merging: struct size_class.

    Attributes:
        index: of the largest class merged into it, as the kernel's debugfs shows it.
        size: of an object with its handle, in bytes.
        pages_per_zspage: length of the chain.
        objs_per_zspage: how many objects a chain holds.
    """

    index: int  # type: ignore[assignment]  # the kernel's name; tuple.index is not missed
    size: int
    pages_per_zspage: int
    objs_per_zspage: int


def calculate_zspage_chain_size(class_size: int) -> int:
    """Pages of a zspage for objects of this size: mm/zsmalloc.c:calculate_zspage_chain_size."""
    if class_size.bit_count() == 1:
        return 1
    return min(range(1, ZS_MAX_PAGES_PER_ZSPAGE + 1), key=lambda pages: pages * PAGE_SIZE % class_size)


def get_size_class_index(size: int) -> int:
    """Index, before merging, for `size` bytes with the handle: mm/zsmalloc.c:get_size_class_index."""
    index = (max(0, size - ZS_MIN_ALLOC_SIZE) + ZS_SIZE_CLASS_DELTA - 1) // ZS_SIZE_CLASS_DELTA
    return min(ZS_SIZE_CLASSES - 1, index)


def can_merge(prev: SizeClass, pages_per_zspage: int, objs_per_zspage: int) -> bool:
    """Whether the next larger class serves as well: mm/zsmalloc.c:can_merge."""
    return (prev.pages_per_zspage, prev.objs_per_zspage) == (pages_per_zspage, objs_per_zspage)


def _classes() -> list[SizeClass]:
    """List the class that serves each index: mm/zsmalloc.c:zs_create_pool."""
    serving: list[SizeClass] = []
    for index in reversed(range(ZS_SIZE_CLASSES)):
        size = min(ZS_MIN_ALLOC_SIZE + index * ZS_SIZE_CLASS_DELTA, ZS_MAX_ALLOC_SIZE)
        pages = calculate_zspage_chain_size(size)
        objects = pages * PAGE_SIZE // size
        merged = bool(serving) and can_merge(serving[-1], pages, objects)
        serving.append(serving[-1] if merged else SizeClass(index, size, pages, objects))
    return serving[::-1]


SERVING = tuple(_classes())
SIZE_CLASSES: tuple[SizeClass, ...] = tuple(sorted(set(SERVING)))


@cache
def class_of_size(size: int) -> SizeClass:
    """Class for `size` bytes with the handle."""
    return SERVING[get_size_class_index(size)]


@cache
def class_of_length() -> NDArray[np.uint8]:
    """Position in `SIZE_CLASSES` by the length of the compressed page in bytes: uint8[4097], read-only.

    The handle is added here. Nothing has length 0; its entry means nothing.
    """
    position = {size_class: at for at, size_class in enumerate(SIZE_CLASSES)}
    lengths = range(PAGE_SIZE + 1)
    table = [position[class_of_size(length + ZS_HANDLE_SIZE)] for length in lengths]
    result = np.array(table, np.uint8)
    result.flags.writeable = False
    return result
