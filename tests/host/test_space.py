"""Address spaces against a dictionary of pages."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from swaplab.host.space import AddressSpace, What, parse_maps

PAGES = 40
changes = st.tuples(st.integers(0, PAGES - 1), st.integers(0, 12), st.sampled_from(What))
touches = st.lists(st.tuples(st.integers(0, PAGES + 11), st.booleans()), max_size=12)


class Pages:
    """The same, one page at a time."""

    def __init__(self) -> None:
        self.what = dict.fromkeys(range(PAGES + 12), What.ANONYMOUS)
        self.written: set[int] = set()

    def change(self, first: int, pages: int, what: What) -> None:
        for page in range(first, first + pages):
            self.what[page] = what
            self.written.discard(page)

    def anonymous(self, page: int, write: bool) -> bool:
        if write and self.what[page] == What.PRIVATE_FILE:
            self.written.add(page)
        return self.what[page] == What.ANONYMOUS or page in self.written


@given(st.lists(st.tuples(changes, touches), max_size=12))
def test_pages_are_what_they_were_last_made(
    steps: list[tuple[tuple[int, int, What], list[tuple[int, bool]]]],
) -> None:
    space, pages = AddressSpace(), Pages()
    for change, accesses in steps:
        space.change(*change)
        pages.change(*change)
        found = space.anonymous(
            np.array([page for page, _ in accesses], np.uint64),
            np.array([write for _, write in accesses], np.bool_),
        )
        assert found.tolist() == [pages.anonymous(*access) for access in accesses]


def test_a_child_has_the_pages_that_its_parent_wrote() -> None:
    parent = AddressSpace()
    parent.change(10, 5, What.PRIVATE_FILE)
    parent.anonymous(np.array([11], np.uint64), np.array([True]))
    child = AddressSpace.from_maps("a000-f000 rw-p 00000000 08:01 7    /bin/sh\n", parent)
    assert child.anonymous(np.array([11, 12], np.uint64), np.array([False, False])).tolist() == [True, False]


def test_only_files_of_a_map_count() -> None:
    text = """\
1000-3000 r--p 00000000 08:01 7                          /usr/lib/lib with space.so
3000-4000 rw-p 00000000 00:00 0
4000-5000 rw-s 00000000 08:01 8                          /var/db
5000-6000 rw-s 00000000 00:01 9                          /dev/zero (deleted)
6000-7000 rw-s 00000000 00:01 9                          /memfd:a
7000-8000 rw-s 00000000 00:01 9                          /dev/shm/b
8000-9000 rw-p 00000000 00:00 0                          [heap]
"""
    assert list(parse_maps(text)) == [(1, 2, What.PRIVATE_FILE), (4, 1, What.SHARED_FILE)]
