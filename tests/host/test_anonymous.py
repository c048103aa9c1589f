from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.host.fake_proc import EXCLUSIVE, FILE, PAGE, PRESENT, RESIDENT, SWAPPED, Area, add_process

from swaplab.host import anonymous
from swaplab.host.anonymous import Mapping, open_memory, parse_smaps


def filled(*values: int) -> np.ndarray:
    return np.repeat(np.array(values, np.uint8)[:, None], PAGE, axis=1)


def test_smaps(tmp_path: Path) -> None:
    areas = [
        Area([RESIDENT, 0, SWAPPED], filled(1), swapped=1),
        Area([PRESENT | FILE], filled(2), perms="rw-s"),
        Area([RESIDENT, RESIDENT], filled(3, 4), flags="rd wr lo", surplus=1),
        Area([0], filled()),
    ]
    add_process(tmp_path, 5, areas)
    with open_memory(5, tmp_path) as memory:
        assert memory.mappings() == [Mapping(16, 3, 1, 1, False), Mapping(20, 2, 1, 0, True)]


def test_no_smaps_no_mappings() -> None:
    assert list(parse_smaps(iter([]))) == []


@pytest.mark.parametrize(("written", "pages"), [(None, None), (2.5, 2), (7, 7)])
def test_the_proportional_set(tmp_path: Path, written: float | None, pages: int | None) -> None:
    add_process(tmp_path, 5, [Area([RESIDENT], filled(1))], proportional=written, shared=9)
    with open_memory(5, tmp_path) as memory:
        assert memory.proportional() == (pages, None if written is None else 9)


@pytest.mark.parametrize("at_once", [1, 3, 1 << 17])
def test_candidates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(anonymous, "ENTRIES_AT_ONCE", at_once)
    entries = [RESIDENT, 0, PRESENT, SWAPPED, PRESENT | FILE, PRESENT | FILE | EXCLUSIVE, RESIDENT | 1234]
    add_process(tmp_path, 5, [Area(entries, filled(*range(5)))])
    with open_memory(5, tmp_path) as memory:
        found = list(memory.candidates(memory.mappings()[0]))
    assert [page for chunk in found for page in chunk.page] == [16, 18, 22]
    assert [flag for chunk in found for flag in chunk.exclusive] == [True, False, True]


def test_a_page_is_read_only_while_it_is_resident(tmp_path: Path) -> None:
    add_process(tmp_path, 5, [Area([RESIDENT, SWAPPED, RESIDENT], filled(1, 2))])
    mem = tmp_path / "5" / "mem"
    mem.write_bytes(mem.read_bytes()[:-1])  # the last page: a short read
    with open_memory(5, tmp_path) as memory:
        assert memory.read(16) == b"\1" * PAGE
        assert [memory.read(page) for page in (17, 18, 1000)] == [None] * 3


def test_a_process_that_ends_while_it_is_read(tmp_path: Path) -> None:
    add_process(tmp_path, 5, [Area([RESIDENT] * 3, filled(1, 2, 3))])
    with open_memory(5, tmp_path) as memory:
        mapping = memory.mappings()[0]
        (tmp_path / "5" / "pagemap").write_bytes(bytes(8 * 17))
        assert sum(len(chunk.page) for chunk in memory.candidates(mapping)) == 0
