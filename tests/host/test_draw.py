from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.host.fake_proc import PAGE, PRESENT, RESIDENT, Area, add_process

from swaplab.host.draw import Sample, draw
from swaplab.host.processes import list_processes


def numbered(numbers: Sequence[int]) -> np.ndarray:
    """Pages that begin with a number."""
    pages = np.zeros((len(numbers), PAGE), np.uint8)
    pages[:, :2] = np.array(numbers, "<u2")[:, None].view(np.uint8)
    return pages


def sample(proc: Path, size: int, seed: int = 0) -> Sample:
    return draw(list_processes(proc), size, np.random.default_rng(seed), proc)


def numbers(found: Sample) -> list[int]:
    return sorted(int(number) for number in found.pages[:, :2].copy().view("<u2")[:, 0])


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three processes with 2 + 3, 10 and 5 pages: numbers 1 to 20."""
    add_process(tmp_path, 4, [Area([RESIDENT] * 2, numbered([1, 2])), Area([RESIDENT] * 3, numbered([3, 4, 5]))])
    add_process(tmp_path, 5, [Area([RESIDENT, 0] * 10, numbered(range(6, 16)))])
    add_process(tmp_path, 6, [Area([RESIDENT] * 5, numbered(range(16, 21)), swapped=7)])
    return tmp_path


def test_a_sample_of_everything_is_everything(three: Path) -> None:
    found = sample(three, 20)
    assert numbers(found) == list(range(1, 21))
    assert (found.population, found.fraction, found.processes, found.swapped) == (20.0, 1.0, 3, 7)
    assert (found.weights == 1).all()


def test_every_page_has_the_same_chance(three: Path) -> None:
    drawn = Counter(number for seed in range(400) for number in numbers(sample(three, 6, seed)))
    assert sum(drawn.values()) == 400 * 6
    # 120 each on average, with a standard deviation of 9.
    assert all(84 < drawn[number] < 156 for number in range(1, 21))


def test_the_same_seed_draws_the_same_pages(three: Path) -> None:
    assert (sample(three, 6, 3).pages == sample(three, 6, 3).pages).all()
    assert numbers(sample(three, 6, 3)) != numbers(sample(three, 6, 4))
    assert sample(three, 6).fraction == 0.3


def test_pages_shared_by_processes_count_in_part(tmp_path: Path) -> None:
    for pid in (4, 5):
        areas = [Area([PRESENT] * 4, numbered([1, 2, 3, 4])), Area([RESIDENT] * 2, numbered([5, 6]))]
        add_process(tmp_path, pid, areas, proportional=2 + 4 / 2)
    found = sample(tmp_path, 100)
    assert found.population == 8.0
    assert sorted(found.weights) == [0.5] * 8 + [1.0] * 4


def test_memory_only_read_is_not_anonymous(tmp_path: Path) -> None:
    """Two shared pages of zeros and one of data, and five times the kernel's page of zeros."""
    add_process(tmp_path, 4, [Area([PRESENT] * 8, numbered([9, *[0] * 7]), surplus=5)])
    found = sample(tmp_path, 100)
    zeros = ~found.pages.any(axis=1)
    assert found.population == 3.0
    assert found.weights[zeros].sum() == pytest.approx(2.0)
    assert found.weights[~zeros].sum() == pytest.approx(1.0)


@pytest.mark.parametrize(("read", "written"), [(4, 1), (7, 18), (29, 6)])
def test_nothing_but_memory_only_read(tmp_path: Path, read: int, written: int) -> None:
    data = list(range(1, written + 1))
    areas = [Area([PRESENT] * read + [RESIDENT] * written, numbered([0] * read + data), surplus=read)]
    add_process(tmp_path, 4, areas)
    assert numbers(sample(tmp_path, 100)) == data


def test_locked_memory_is_left_out(tmp_path: Path) -> None:
    areas = [Area([RESIDENT] * 2, numbered([1, 2]), flags="rd lo"), Area([RESIDENT], numbered([3]))]
    add_process(tmp_path, 4, areas, proportional=3)
    found = sample(tmp_path, 100)
    assert (numbers(found), found.locked, found.population) == ([3], 2, 1.0)


def test_pages_that_go_away_are_counted(tmp_path: Path) -> None:
    add_process(tmp_path, 4, [Area([RESIDENT] * 4, numbered([1, 2, 3, 4]))])
    mem = tmp_path / "4" / "mem"
    mem.write_bytes(mem.read_bytes()[: -PAGE - 1])
    found = sample(tmp_path, 100)
    assert (numbers(found), found.lost, found.fraction, found.population) == ([1, 2], 2, 0.5, 4.0)


def test_processes_that_cannot_be_read_are_named(three: Path) -> None:
    (three / "4" / "mem").unlink()
    found = sample(three, 100)
    assert [(p.pid, p.name, p.reason) for p in found.unreadable] == [(4, "p4", "vanished")]
    assert (found.processes, found.population) == (2, 15.0)


def test_a_process_that_ended_has_no_pages(three: Path) -> None:
    for pid in (4, 5, 6):
        (three / str(pid) / "pagemap").write_bytes(b"")
    found = sample(three, 100)
    assert (len(found.pages), found.population, found.fraction) == (0, 0.0, 0.0)
