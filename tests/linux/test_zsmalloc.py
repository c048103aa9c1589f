from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.linux.pool import pool_pages

from swaplab.linux.zsmalloc import SIZE_CLASSES, SizeClass, class_of_length


def least_waste(size: int) -> tuple[int, int]:
    """Pages and objects of the shortest chain of up to eight pages that wastes least; one page for 2**n."""
    if size in (32, 64, 128, 256, 512, 1024, 2048, 4096):
        return 1, 4096 // size
    _, pages = min((pages * 4096 - pages * 4096 // size * size, pages) for pages in range(1, 9))
    return pages, pages * 4096 // size


def brute_force_class(length: int) -> SizeClass:
    """Walk up from the smallest size that fits object and handle, as long as the zspage stays the same."""
    size = next(size for size in range(32, 4097, 16) if size >= min(length + 8, 4096))
    while size < 4096 and least_waste(size) == least_waste(size + 16):
        size += 16
    return SizeClass((size - 32) // 16, size, *least_waste(size))


def test_every_length_has_the_class_of_brute_force() -> None:
    table = class_of_length()
    assert table.shape == (4097,)
    assert table.dtype == np.uint8
    for length in range(1, 4097):
        assert SIZE_CLASSES[table[length]] == brute_force_class(length), length


def test_facts_that_kernel_developers_know() -> None:
    assert len(SIZE_CLASSES) == 119
    assert SIZE_CLASSES[0] == SizeClass(0, 32, 1, 128)
    assert SIZE_CLASSES[-2] == SizeClass(225, 3632, 8, 9)
    assert SIZE_CLASSES[-1] == SizeClass(254, 4096, 1, 1)


def test_classes_are_in_order_and_different() -> None:
    sizes = [size_class.size for size_class in SIZE_CLASSES]
    assert sizes == sorted(set(sizes))
    shapes = [size_class[2:] for size_class in SIZE_CLASSES]
    assert all(a != b for a, b in pairwise(shapes))


@pytest.mark.parametrize(
    ("length", "size"), [(1, 32), (24, 32), (25, 48), (3624, 3632), (3625, 4096), (4088, 4096), (4096, 4096)]
)
def test_the_handle_counts_except_in_the_huge_class(length: int, size: int) -> None:
    assert SIZE_CLASSES[class_of_length()[length]].size == size


@given(st.lists(st.integers(1, 4096), max_size=300))
def test_a_pool_is_filled_class_by_class(lengths: list[int]) -> None:
    room: dict[SizeClass, int] = {}
    pages = 0
    for length in lengths:
        size_class = brute_force_class(length)
        if not room.get(size_class):
            pages += size_class.pages_per_zspage
            room[size_class] = size_class.objs_per_zspage
        room[size_class] -= 1
    assert pool_pages(np.array(lengths, np.int64)) == pages


def test_the_table_cannot_be_changed_by_a_caller() -> None:
    with pytest.raises(ValueError, match="read-only"):
        class_of_length()[0] = 1
