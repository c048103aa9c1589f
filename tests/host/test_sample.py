"""The choice of pages that stand for others."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from swaplab.host import raw
from swaplab.host.raw import Source
from swaplab.host.sample import choose, page_hash
from swaplab.linux.page import PAGE_SIZE
from swaplab.scenario.trace import Stream

BUCKETS = 8


def source(directory: Path, process: int) -> Source:
    return Source(directory / f"{process}.0", (process, 0), 0, None, 0, False, "p")


def write_samples(directory: Path, process: int, pages: list[int]) -> None:
    slots = np.zeros(BUCKETS, raw.SAMPLE)
    for page in pages:
        slots[int(page_hash(np.array([page], np.uint64))[0]) % BUCKETS] = (
            np.full(PAGE_SIZE, process + 1),
            page,
        )
    (directory / f"{process}.0.samples").write_bytes(slots.tobytes())


def stream(process: int, pages: int) -> Stream:
    return Stream(f"p:{process}", pages, pages, [(1000, pages)])


def test_the_hash_is_the_finalizer_of_splitmix64() -> None:
    first_of_seed_0 = 0xE220A8397B1DCDAF
    assert int(page_hash(np.array([0x9E3779B97F4A7C15], np.uint64))[0]) == first_of_seed_0


def test_weights_add_up_to_all_pages(tmp_path: Path) -> None:
    write_samples(tmp_path, 0, list(range(1000, 1100)))
    chosen = choose([(source(tmp_path, 0), stream(0, 100))], BUCKETS)
    assert (len(chosen.data), chosen.weight.sum()) == (BUCKETS, 100)


def test_processes_win_in_proportion_to_their_pages(tmp_path: Path) -> None:
    for process in range(40):
        write_samples(tmp_path, process, list(range(1000, 1010)))
    write_samples(tmp_path, 40, list(range(1000, 1400)))
    streams = [(source(tmp_path, process), stream(process, 10 if process < 40 else 400)) for process in range(41)]
    chosen = choose(streams, BUCKETS)
    assert 0 < np.count_nonzero(chosen.data[:, 0] == 41) < BUCKETS
    assert chosen.weight.sum() == 800


def test_pages_outside_the_trace_are_not_chosen(tmp_path: Path) -> None:
    write_samples(tmp_path, 0, [5])
    assert len(choose([(source(tmp_path, 0), stream(0, 10))], BUCKETS).weight) == 0


def test_no_sample_is_asked_for(tmp_path: Path) -> None:
    assert len(choose([(source(tmp_path, 0), stream(0, 10))], 0).weight) == 0
