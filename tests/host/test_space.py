"""Address spaces and states of pages against dictionaries of pages."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from swaplab.host.space import TOUCHED, WRITTEN, AddressSpace, Mapping, PageStates, What

PAGES = 40
FAR = 100
ranges = st.tuples(st.integers(0, PAGES - 1), st.integers(1, 12))
mappings = st.tuples(ranges, st.sampled_from([What.ANONYMOUS, What.PRIVATE_FILE]), st.integers(0, 9))
moves = st.tuples(ranges, st.integers(FAR, FAR + PAGES))
touches = st.lists(st.tuples(st.integers(0, PAGES + 11), st.booleans()), max_size=12)


class Pages:
    """The same, one page at a time: what is there, and a number that no other page has."""

    def __init__(self) -> None:
        self.pages: dict[int, tuple[What, int, object]] = {}

    def map(self, first: int, pages: int, mapping: Mapping) -> None:
        for page in range(first, first + pages):
            self.pages[page] = (mapping.what, page + mapping.shift, object())

    def unmap(self, first: int, pages: int) -> None:
        for page in range(first, first + pages):
            self.pages.pop(page, None)

    def move(self, first: int, pages: int, to: int) -> None:
        moved = [self.pages.pop(page, None) for page in range(first, first + pages)]
        for page, what in enumerate(moved, to):
            self.pages.pop(page, None)
            if what:
                self.pages[page] = what


@given(st.lists(st.one_of(ranges, mappings, moves), max_size=12))
def test_pages_are_what_they_were_last_made_and_keep_their_numbers(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    space, pages = AddressSpace(), Pages()
    for step in steps:
        if isinstance(step[0], int):
            space.unmap(*step)
            pages.unmap(*step)
        elif len(step) == 3:
            (first, length), what, shift = step
            space.map(first, length, Mapping(what, 1, shift))
            pages.map(first, length, Mapping(what, 1, shift))
        else:
            (first, length), to = step
            space.move(first, length, to, length)
            pages.move(first, length, to)
        found = space.look_up(np.arange(FAR + PAGES + 12))
        there = [at for at in range(FAR + PAGES + 12) if at in pages.pages]
        assert np.flatnonzero(found.what != What.NOTHING).tolist() == there
        assert [(found.what[at], found.page_of_other[at]) for at in there] == [pages.pages[at][:2] for at in there]
        assert len(set(found.page[there].tolist())) == len(there), "no two pages have one number"


def test_a_moved_page_keeps_its_number_and_what_it_grows_by_follows() -> None:
    space = AddressSpace()
    space.map(10, 2, Mapping(What.OBJECT, 5, -10))
    space.move(10, 2, 50, 4)
    found = space.look_up(np.array([10, 50, 51, 52, 53, 54]))
    assert found.page[1:3].tolist() == [10, 11]
    assert found.page_of_other[1:5].tolist() == [0, 1, 2, 3]
    assert (found.what == What.OBJECT).tolist() == [False, True, True, True, True, False]


@given(st.lists(st.one_of(touches, ranges), max_size=12))
def test_states_are_those_since_a_page_was_forgotten(steps: list[list[tuple[int, bool]] | tuple[int, int]]) -> None:
    states, pages = PageStates(), dict[int, int]()
    offset = (1 << 12) - 20  # so that pages are of two chunks
    for step in steps:
        if isinstance(step, tuple):
            gone = [page for page in range(step[0], step[0] + step[1]) if pages.pop(page, 0)]
            assert states.clear(step[0] + offset, step[1]) == len(gone)
        else:
            page = np.array([at for at, _ in step], np.int64)
            before = states.touch(page + offset, np.array([write for _, write in step], np.bool_))
            assert before.tolist() == [pages.get(at, 0) for at, _ in step]
            for at, write in step:
                pages[at] = pages.get(at, 0) | int(TOUCHED) | int(WRITTEN) * write
        assert (states.touched, states.written) == (
            len(pages),
            sum(value & int(WRITTEN) > 0 for value in pages.values()),
        )
        runs = [page - offset for first, length in states.runs() for page in range(first, first + length)]
        assert runs == sorted(pages)
