"""The disk that files are on: what a driver of ext4 finds there, and what the guest is told to do with it."""

from __future__ import annotations

import struct
from pathlib import Path

import msgspec
import pytest

from swaplab.errors import UnsupportedError
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.load import parse_scenario
from swaplab.scenario.model import Scenario
from swaplab.vm.engine import fingerprint
from swaplab.vm.ext4 import Disk, Extent, make_disk
from swaplab.vm.files import disk_of
from swaplab.vm.script import script_for

SCENARIO = """
swap.size = "1M"
[[workload]]
pages = 20
[[workload]]
kind = "file"
pages = 300
[[workload]]
kind = "file"
advice = "random"
pages = 5
"""


def scenario(pages: int = 300) -> Scenario:
    parsed = parse_scenario(SCENARIO, "x.toml", Path())
    first, second, *rest = parsed.workloads
    second = msgspec.structs.replace(second, pages=pages)
    return msgspec.structs.replace(parsed, workloads=(first, second, *rest))


def numbers(form: str, data: bytes, at: int) -> tuple[int, ...]:
    return struct.unpack_from(f"<{form}", data, at)


class Reader:
    """Follows a file system from its superblock on, by the offsets in Documentation/filesystems/ext4."""

    def __init__(self, disk: Disk) -> None:
        self.blocks = disk.metadata
        block = self.blocks[0]
        assert numbers("H", block, 1024 + 0x38) == (0xEF53,)
        assert numbers("II", block, 1024 + 0x4) == (disk.blocks, 0)
        (self.per_group,) = numbers("I", block, 1024 + 0x28)
        assert numbers("H", block, 1024 + 0x58) == (256,)

    def inode(self, number: int) -> tuple[int, list[Extent]]:
        group, index = divmod(number - 1, self.per_group)
        (table,) = numbers("I", self.blocks[1], group * 32 + 8)
        data, at = self.blocks[table + index // 16], index % 16 * 256
        magic, entries, _, depth = numbers("HHHH", data, at + 0x28)
        assert (magic, depth) == (0xF30A, 0)
        found = [numbers("IHHI", data, at + 0x28 + 12 * (1 + i)) for i in range(entries)]
        return numbers("I", data, at + 4)[0], [Extent(page, block, pages) for page, pages, _, block in found]

    def root(self) -> dict[str, int]:
        """The inodes of the root directory by name."""
        size, extents = self.inode(2)
        data = b"".join(self.blocks[each.block + i] for each in extents for i in range(each.pages))
        assert len(data) == size
        names, at = {}, 0
        while at < size:
            inode, length, name_length, _ = numbers("IHBB", data, at)
            names[data[at + 8 : at + 8 + name_length].decode()] = inode
            at += length
        return names


@pytest.mark.parametrize("sizes", [[3], [1] * 400, [32_000, 40_000, 7]])
def test_a_driver_finds_the_files_where_they_are(sizes: list[int]) -> None:
    disk = make_disk([(f"{i}.random", pages) for i, pages in enumerate(sizes)])
    reader = Reader(disk)
    names = reader.root()
    used: set[int] = set(disk.metadata)
    for i, (pages, extents) in enumerate(zip(sizes, disk.files, strict=True)):
        assert reader.inode(names[f"{i}.random"]) == (pages * 4096, extents)
        assert [each.page for each in extents] == [
            sum(before.pages for before in extents[:j]) for j in range(len(extents))
        ]
        blocks = {each.block + j for each in extents for j in range(each.pages)}
        assert len(blocks) == pages == sum(each.pages for each in extents)
        assert not used & blocks, "a block is used twice"
        used |= blocks
    assert max(used) < disk.blocks
    assert {*names} == {".", "..", *(f"{i}.random" for i in range(len(sizes)))}


def test_what_the_guest_reads_of_it_says_it_all() -> None:
    disk = make_disk([("0.normal", 3), ("1.normal", 2)])
    data, at = disk.description(), 0
    metadata, files = {}, []
    while at < len(data):
        extent = Extent(*numbers("III", data, at))
        at += 12
        if extent.pages:
            files.append([extent])
        else:
            metadata[extent.block] = data[at : at + 4096]
            at += 4096
    assert (metadata, files) == (disk.metadata, disk.files)


def test_each_task_that_reads_has_a_file_of_its_name() -> None:
    disk = disk_of(scenario(), Accesses(scenario()))
    assert disk is not None
    assert {*Reader(disk).root()} - {".", ".."} == {"1.normal", "2.random"}


def test_who_has_no_file_has_no_disk_of_files() -> None:
    plain = parse_scenario("[[workload]]\npages = 3\n", "x.toml", Path())
    assert disk_of(plain, Accesses(plain)) is None
    assert "nullb2" not in script_for(plain, Accesses(plain), (), 20)


def test_the_disk_is_made_before_anybody_starts() -> None:
    lines = script_for(scenario(), Accesses(scenario()), (), 20).splitlines()
    filled = next(i for i, line in enumerate(lines) if line.startswith("fill\t/dev/nullb2"))
    assert filled < lines.index("mount\text4\t/files") < lines.index("occupy")
    assert "swapon\t/dev/nullb2" not in lines


def test_what_is_on_the_disk_is_part_of_what_runs() -> None:
    assert fingerprint(scenario()) != fingerprint(scenario(pages=301))


def test_a_file_that_is_too_large_is_refused() -> None:
    large = scenario(pages=1 << 18)
    with pytest.raises(UnsupportedError, match=r"x\.toml: workload\[1\]\.pages: .* at most 4 extents, found 262144"):
        disk_of(large, Accesses(large))
