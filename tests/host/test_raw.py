"""Merging blocks of the recorder, made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from swaplab.host import raw

MARK, RANGE, LENGTH = 1 << 62, 2 << 62, 3 << 62
PRIVATE_FILE = 1 << 56
SECOND = 10**9


def access(ticks: int, page: int, write: bool = True) -> int:
    return ticks << 36 | page << 1 | write


def directory_of(path: Path, *blocks: tuple[int, list[int]]) -> Path:
    """Blocks of ``(process, words)``."""
    array = np.zeros(len(blocks), raw.BLOCK)
    for block, (process, words) in zip(array, blocks, strict=True):
        block["process"], block["parent"], block["accesses"] = process, 0xFFFFFFFF, len(words)
        block["words"][: len(words)] = words
    header = np.zeros(raw.PAGE // 8, "<u8")
    header[:2] = len(blocks), 1 + max((process for process, _ in blocks), default=-1)
    (path / "blocks").write_bytes(header.tobytes() + array.tobytes())
    return path


def merged(directory: Path) -> list[tuple[int, int, bool]]:
    return [
        access
        for batch in raw.accesses(directory)
        for access in zip(batch.process.tolist(), batch.page.tolist(), batch.write.tolist(), strict=True)
    ]


def test_a_mark_sets_the_time_of_what_follows(tmp_path: Path) -> None:
    late = [MARK | 3 * SECOND, access(0, 1), MARK | 5 * SECOND, access(0, 2)]
    early = [
        MARK | SECOND,
        access(1, 3, False),
        MARK | 4 * SECOND,
        access(62_500_000, 4),
        access(62_500_001, 5),
    ]
    directory = directory_of(tmp_path, (0, late), (1, early))
    assert merged(directory) == [(1, 3, False), (0, 1, True), (1, 4, True), (0, 2, True), (1, 5, True)]


def test_what_is_equally_old_is_in_order_of_blocks_that_begin_together(tmp_path: Path) -> None:
    directory = directory_of(tmp_path, *((process, [MARK | SECOND, access(0, process)]) for process in (2, 0, 1)))
    assert [process for process, _, _ in merged(directory)] == [2, 0, 1]


def test_a_range_changes_what_follows_it(tmp_path: Path) -> None:
    words = [
        MARK | SECOND,
        access(0, 8, False),
        MARK | 2 * SECOND,
        RANGE | PRIVATE_FILE | 8,
        LENGTH | 2,
        access(1, 8, False),
        access(2, 9, True),
        access(3, 9, False),
    ]
    directory = directory_of(tmp_path, (0, words), (1, [MARK | 3 * SECOND, access(0, 8, False)]))
    assert merged(directory) == [(0, 8, False), (0, 9, True), (0, 9, False), (1, 8, False)]
    assert sum(batch.dropped for batch in raw.accesses(directory)) == 1


def test_words_that_were_never_written_do_not_count(tmp_path: Path) -> None:
    torn = [MARK | SECOND, access(0, 1), MARK | SECOND, RANGE | PRIVATE_FILE | 1]
    directory = directory_of(tmp_path, (0, torn), (0, []), (0, [MARK | SECOND, access(9, 1)]))
    assert merged(directory) == [(0, 1, True), (0, 1, True)]


def test_nothing_is_no_accesses(tmp_path: Path) -> None:
    assert merged(directory_of(tmp_path)) == []
    assert raw.total_accesses(tmp_path) == 0


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(0, 200), min_size=1, max_size=6), max_size=12), st.integers(1, 3))
def test_batches_do_not_show(
    tmp_path_factory: pytest.TempPathFactory, starts: list[list[int]], batch_blocks: int
) -> None:
    blocks = [
        (
            number,
            [MARK | SECOND + min(times) * 16] + [access(time - min(times), time + 1) for time in sorted(times)],
        )
        for number, times in enumerate(starts)
    ]
    directory = directory_of(tmp_path_factory.mktemp("raw"), *blocks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw, "BATCH_BLOCKS", batch_blocks)
        pages = [page for _, page, _ in merged(directory)]
    assert pages == sorted(time + 1 for times in starts for time in times)


def test_samples_without_a_page_are_holes(tmp_path: Path) -> None:
    slots: NDArray[np.void] = np.zeros(5, raw.SAMPLE)
    slots[3] = (np.full(raw.PAGE, 7), 99)
    (tmp_path / "samples.0").write_bytes(slots.tobytes()[:-100])  # a torn last slot
    sample = raw.read_samples(tmp_path, 0)
    assert (sample.page.tolist(), sample.bucket.tolist(), sample.data.mean()) == ([99], [3], 7)
    assert len(raw.read_samples(tmp_path, 1).page) == 0


def test_a_process_is_named_after_its_program(tmp_path: Path) -> None:
    directory_of(tmp_path, (0, []), (1, []))
    (tmp_path / "command.0").write_bytes(b"qemu\0-plugin\0p.so,dir=x\0-0\0sh\0/bin/dash\0-c\0")
    assert raw.process_names(tmp_path) == ["dash:0", "?:1"]
