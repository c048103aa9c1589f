"""Idle bits, on files that are like the kernel's; what the kernel does to the bits is done by hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from swaplab.host.attach.idle_bits import IdleBits
from swaplab.host.attach.methods import best_method

PRESENT, SWAPPED, FILE = 1 << 63, 1 << 62, 1 << 61
FRAMES = 4096


class Machine:
    """A /proc with one process, whose pages are in known frames, and a bitmap."""

    def __init__(self, directory: Path, entries: list[list[int]], names: list[str]) -> None:
        self.proc, self.bitmap = directory / "proc", directory / "bitmap"
        (self.proc / "5").mkdir(parents=True)
        maps, pagemap, first = [], np.zeros(1 << 12, np.uint64), 16
        for own, name in zip(entries, names, strict=True):
            maps.append(f"{first << 12:x}-{first + len(own) << 12:x} {name}")
            pagemap[first : first + len(own)] = own
            first += len(own) + 3
        (self.proc / "5/maps").write_text("\n".join(maps) + "\n")
        pagemap.tofile(self.proc / "5/pagemap")
        self.write("kpageflags", np.zeros(FRAMES, np.uint64))
        self.write("kpagecount", np.ones(FRAMES, np.uint64))
        np.zeros(FRAMES // 64, np.uint64).tofile(self.bitmap)

    def write(self, name: str, values: NDArray[np.uint64]) -> None:
        values.tofile(self.proc / name)

    def bits(self) -> NDArray[np.bool_]:
        return np.unpackbits(np.fromfile(self.bitmap, np.uint8), bitorder="little").astype(np.bool_)

    def use(self, *frames: int) -> None:
        bits = self.bits()
        bits[list(frames)] = False
        np.packbits(bits, bitorder="little").tofile(self.bitmap)


ANONYMOUS = "rw-p 00000000 00:00 0"


def test_pages_are_idle_until_they_are_used(tmp_path: Path) -> None:
    frames = [7, 64, 65, 3000, 2]
    swapped = SWAPPED | 99
    of_file = PRESENT | FILE | 9
    machine = Machine(tmp_path, [[*(PRESENT | each for each in frames), swapped, of_file, 0]], [ANONYMOUS])
    kernel = IdleBits(machine.bitmap, machine.proc)
    kernel.clear(5)
    assert np.flatnonzero(machine.bits()).tolist() == sorted(frames)
    assert kernel.look(5) == (5, 0, 1, 0)
    machine.use(64, 3000)
    assert kernel.look(5) == (5, 2, 1, 0)


def test_shared_memory_counts_and_what_is_shared_counts_in_part(tmp_path: Path) -> None:
    names = ["rw-s 00000000 00:01 3   /memfd:x (deleted)", "rw-s 00000000 fe:00 9   /var/lib/data", ANONYMOUS]
    entries = [[PRESENT | FILE | 10], [PRESENT | FILE | 11], [PRESENT | 12]]
    machine = Machine(tmp_path, entries, names)
    counts = np.ones(FRAMES, np.uint64)
    counts[10] = 4
    machine.write("kpagecount", counts)
    kernel = IdleBits(machine.bitmap, machine.proc)
    kernel.clear(5)
    machine.use(10)
    assert kernel.look(5) == (1.25, 0.25, 0, 0)


def test_a_huge_page_is_as_idle_as_its_first(tmp_path: Path) -> None:
    machine = Machine(tmp_path, [[PRESENT | each for each in range(512, 1024)]], [ANONYMOUS])
    flags = np.zeros(FRAMES, np.uint64)
    flags[513:1024] = 1 << 16
    machine.write("kpageflags", flags)
    kernel = IdleBits(machine.bitmap, machine.proc)
    kernel.clear(5)
    machine.use(*range(513, 1024))  # the kernel keeps no bits for these
    assert kernel.look(5) == (512, 0, 0, 511)
    machine.use(512)
    assert kernel.look(5).referenced == 512


def test_without_memory_there_is_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, [[0, 0]], [ANONYMOUS])
    kernel = IdleBits(machine.bitmap, machine.proc)
    kernel.clear(5)
    assert kernel.look(5) == (0, 0, 0, 0)


def test_the_best_method_is_chosen_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, [[PRESENT | 7]], [ANONYMOUS])
    assert best_method(machine.bitmap, machine.proc).method == "idle page bits, page by page"
    assert best_method(tmp_path / "none").method.endswith(
        "this kernel has no idle page bits (CONFIG_IDLE_PAGE_TRACKING)"
    )

    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refuse)
    assert best_method(machine.bitmap, machine.proc).method.endswith("as idle page bits take root")
