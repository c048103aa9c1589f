"""What is read of a process, from files as the kernel writes them."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from swaplab.host.attach.proc import Clock, clear, identity, look, parse
from swaplab.process import holding_signals


def mapping(perms: str, name: str, flags: str = "rd wr", **kib: int) -> str:
    counts = {"Rss": 0, "Pss": 0, "Referenced": 0, "Anonymous": 0, "Swap": 0} | kib
    lines = [f"7f0000000000-7f0000100000 {perms} 00000000 00:01 77   {name}", "Size:   1024 kB"]
    return "\n".join([*lines, *(f"{key}: {value:8} kB" for key, value in counts.items()), f"VmFlags: {flags}", ""])


@pytest.mark.parametrize(
    ("smaps", "expected"),
    [
        (mapping("rw-p", "[heap]", Rss=80, Pss=80, Referenced=40, Anonymous=80, Swap=8), (20, 10, 2, 0)),
        # Half of it is another process's as well.
        (mapping("rw-p", "", Rss=80, Pss=40, Referenced=40, Anonymous=80, Swap=8, SwapPss=4), (10, 5, 1, 0)),
        # A file's own pages are parted from those that were written to.
        (mapping("rw-p", "/lib/a VmFlags: lo", Rss=80, Pss=80, Referenced=40, Anonymous=20), (5, 2.5, 0, 0)),
        (mapping("r-xp", "/lib/a", Rss=80, Pss=80, Referenced=40), (0, 0, 0, 0)),
        (mapping("rw-s", "/memfd:x (deleted)", Rss=80, Pss=20, Referenced=80), (5, 5, 0, 0)),
        (mapping("rw-s", "/var/lib/data", Rss=80, Pss=20, Referenced=80), (0, 0, 0, 0)),
        (mapping("rw-p", "", "rd wr lo", Rss=80, Pss=80, Referenced=40, Anonymous=80), (0, 0, 0, 0)),
        (
            mapping("rw-p", "", Rss=4096, Pss=4096, Referenced=2048, Anonymous=4096, AnonHugePages=2048),
            (1024, 512, 0, 512),
        ),
        ("", (0, 0, 0, 0)),
    ],
)
def test_memory_that_can_be_swapped_is_counted(smaps: str, expected: tuple[float, ...]) -> None:
    assert parse(smaps.encode()) == pytest.approx(expected)
    other = mapping("rw-p", "[stack]", Rss=8, Pss=8, Referenced=4, Anonymous=8)
    assert parse((smaps + other).encode()) == pytest.approx(
        [a + b for a, b in zip(expected, (2, 1, 0, 0), strict=True)]
    )


def test_the_files_of_a_process_are_used(tmp_path: Path) -> None:
    (tmp_path / "5").mkdir()
    (tmp_path / "5/clear_refs").touch()
    (tmp_path / "5/smaps").write_text(mapping("rw-p", "", Rss=8, Pss=8, Referenced=4, Anonymous=8))
    fields = ["S", *map(str, range(4, 53))]
    (tmp_path / "5/stat").write_text(f"5 (a) (b) {' '.join(fields)}\n")
    clear(5, tmp_path)
    assert (tmp_path / "5/clear_refs").read_bytes() == b"1"
    assert look(5, tmp_path).resident == 2
    found = identity(5, tmp_path)
    assert (found.started, found.stack, found.name) == (22, 28, "a) (b")
    with pytest.raises(FileNotFoundError):
        identity(6, tmp_path)


def test_a_signal_ends_a_wait_and_nothing_else() -> None:
    clock = Clock()
    with holding_signals():
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        assert clock.wait(clock.now() + 60) == "SIGTERM"
        assert clock.wait(clock.now() + 0.001) == ""
    assert clock.now() <= time.monotonic()
