"""Files of the recorder, made by hand: decoded, and merged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from swaplab.host import raw
from swaplab.host.raw import What
from swaplab.linux.page import PAGE_SIZE

MARK, EVENT, ARGUMENT = 1 << 62, 2 << 62, 3 << 62
SECOND = 1 << 30


def access(ticks: int, page: int, write: bool = True) -> int:
    return ticks << 37 | page << 1 | write


def event(time: int, what: What, value: int, *arguments: int) -> list[int]:
    return [MARK | time, EVENT | what << 56 | value, *(ARGUMENT | argument for argument in arguments)]


def text(value: str) -> list[int]:
    data = value.encode()
    return [int.from_bytes(data[at : at + 7], "little") for at in range(0, len(data), 7)]


def write(path: Path, process: int, time: int, *words: int, parent: int = 0) -> None:
    start = event(time, What.START, parent, 0, 1, 0, *text("/bin/some program"))
    np.array([*start, *words, *[0] * 70], "<u8").tofile(path / f"{process}.0")


def read(path: Path) -> list[tuple[int, int, What, int, list[int]]]:
    return [
        (
            int(words.time[row]),
            int(words.source[row]),
            What(words.what[row]),
            int(words.value[row]),
            words.arguments[words.first[row] : words.first[row] + words.arity[row]].tolist(),
        )
        for words in raw.merged(raw.sources(path))
        for row in range(len(words.time))
    ]


def accesses(path: Path) -> list[tuple[int, int]]:
    return [(source, value >> 1) for _, source, what, value, _ in read(path) if what == What.ACCESS]


def test_a_file_says_what_it_is_about(tmp_path: Path) -> None:
    write(tmp_path, 7, SECOND)
    write(tmp_path, 9, 2 * SECOND, parent=7)
    np.array([MARK | SECOND], "<u8").tofile(tmp_path / "8.0")  # its process was killed at once
    (tmp_path / "log").touch()
    first, second = raw.sources(tmp_path)
    assert (first.key, first.parent, first.program) == ((7, 0), None, "some program")
    assert (second.parent, second.forks, second.shares_memory) == ((7, 0), 1, False)


def test_a_mark_sets_the_time_of_what_follows_and_files_are_merged_by_time(tmp_path: Path) -> None:
    late = [MARK | 3 * SECOND, access(0, 1), MARK | 5 * SECOND, access(0, 2)]
    early = [
        MARK | SECOND + 1,
        access(1, 3, False),
        MARK | 4 * SECOND,
        access(SECOND // 64 + 1, 4),
        access(SECOND // 64 + 2, 5),
    ]
    write(tmp_path, 1, SECOND, *early)
    write(tmp_path, 2, 2 * SECOND, *late)
    assert accesses(tmp_path) == [(0, 3), (1, 1), (1, 2), (0, 4), (0, 5)]


def test_events_have_their_arguments(tmp_path: Path) -> None:
    words = [*event(2 * SECOND, What.UNMAP, 8, 3), access(1, 8), *event(3 * SECOND, What.FILE, 1, 9, *text("a file"))]
    write(tmp_path, 1, SECOND, *words)
    _, unmap, touch, file, end = read(tmp_path)
    assert unmap[2:] == (What.UNMAP, 8, [3])
    assert touch[2:4] == (What.ACCESS, 17)
    assert file[2:4] == (What.FILE, 1)
    assert (file[4][0], raw.text_of(np.array(file[4][1:], np.uint64))) == (9, "a file")
    assert end[2] == What.END


@pytest.mark.parametrize(
    ("words", "last"),
    [
        ([access(1, 1)], "the end of all"),
        (event(2 * SECOND, What.EXECUTE, 0), "at once"),
        (event(2 * SECOND, What.EXECUTE, 1), "the end of all"),
        ([*event(2 * SECOND, What.EXECUTE, 0), access(1, 1)], "the end of all"),
        (event(2 * SECOND, What.EXIT, 0), "none"),
    ],
)
def test_what_does_not_say_that_it_exits_ends_with_the_recording(tmp_path: Path, words: list[int], last: str) -> None:
    write(tmp_path, 1, SECOND, *words)
    write(tmp_path, 2, 3 * SECOND, *event(4 * SECOND, What.EXIT, 0))
    ends = [number for number, row in enumerate(read(tmp_path)) if row[2] == What.END]
    exits = [number for number, row in enumerate(read(tmp_path)) if row[:3] == (4 * SECOND, 1, What.EXIT)]
    assert {"none": not ends, "at once": ends < exits, "the end of all": ends > exits}[last]


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(1, 200), max_size=12), min_size=1, max_size=6), st.integers(12, 20))
def test_pieces_do_not_show(tmp_path_factory: pytest.TempPathFactory, times: list[list[int]], least: int) -> None:
    directory = tmp_path_factory.mktemp("raw")
    for number, some in enumerate(times):
        words = [
            word
            for time in sorted(some)
            for word in (
                event(SECOND + time * 64, What.UNMAP, time, 1, 2, 3) if time % 3 == 0 else [access(time, time + 1)]
            )
        ]
        marked = [part for time in words for part in ([MARK | SECOND, time] if time >> 62 == 0 else [time])]
        write(directory, number + 1, SECOND, *marked)
    whole = read(directory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw, "WORDS_LEAST", least)
        patch.setattr(raw, "WORDS_AT_ONCE", 2 * least)
        assert sorted(read(directory)) == sorted(whole)
        assert [row[0] for row in read(directory)] == sorted(row[0] for row in whole)
        for source in range(len(times)):
            assert [row for row in read(directory) if row[1] == source] == [row for row in whole if row[1] == source]


def test_samples_without_a_page_are_holes(tmp_path: Path) -> None:
    write(tmp_path, 1, SECOND)
    write(tmp_path, 2, SECOND)
    slots: NDArray[np.void] = np.zeros(5, raw.SAMPLE)
    slots[3] = (np.full(PAGE_SIZE, 7), 99)
    (tmp_path / "1.0.samples").write_bytes(slots.tobytes()[:-100])  # a torn last slot
    first, second = raw.sources(tmp_path)
    sample = raw.read_samples(first)
    assert (sample.page.tolist(), sample.bucket.tolist(), sample.data.mean()) == ([99], [3], 7)
    assert len(raw.read_samples(second).page) == 0
