"""A disk with an ext4 file system of files that are there from the start, contiguous, with no journal.

It is made here, since what `mkfs.ext4` makes differs from version to version, and a guest is to do the same each time
(Documentation/filesystems/ext4). What its files hold the guest writes itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from swaplab.linux.page import PAGE_SIZE

__all__ = ["EXTENTS_MAX", "Disk", "Extent", "make_disk"]

GROUP = 8 * PAGE_SIZE
"""Blocks of a group, of a page each: as many as a page of bitmap has bits for."""
EXTENTS_MAX = 4
"""That an inode has room for."""
INODE_BYTES, INODE_EXTRA = 256, 32
INODES_PER_BLOCK = PAGE_SIZE // INODE_BYTES
ROOT, FIRST = 2, 11
"""Inodes: of the root directory, and the first that is a file's."""
DESCRIPTOR_BYTES = 32
CLEAN, CONTINUE, DYNAMIC = 1, 1, 1
FILETYPE, EXTENTS = 0x2, 0x40
SPARSE_SUPER, LARGE_FILE = 0x1, 0x2
REGULAR, DIRECTORY = 0o100444, 0o40555
IS_REGULAR, IS_DIRECTORY = 1, 2
HAS_EXTENTS, EXTENT_MAGIC = 0x80000, 0xF30A


class Extent(NamedTuple):
    """Blocks that follow each other: of a file from `page` on, at `block` of the disk."""

    page: int
    block: int
    pages: int


class Disk(NamedTuple):
    """What a disk has.

    Attributes:
        blocks: of a page each, in all.
        metadata: those that are no file's and have something in them, by number.
        files: extents of each file.
    """

    blocks: int
    metadata: dict[int, bytes]
    files: list[list[Extent]]

    def description(self) -> bytes:
        """What files.c reads: every extent, as three uint32; of no pages, it is a block, whose contents follow."""
        parts = [struct.pack("<III", 0, block, 0) + data for block, data in self.metadata.items()]
        parts += [struct.pack("<III", *each) for extents in self.files for each in extents]
        return b"".join(parts)


class _Layout:
    """Where things are, given how much there is."""

    def __init__(self, pages: int, files: int, directory: int) -> None:
        self.inodes = -(-(FIRST - 1 + files) // INODES_PER_BLOCK) * INODES_PER_BLOCK
        self.table = self.inodes // INODES_PER_BLOCK
        self.groups = 0
        room = 0
        while room < pages + directory:
            self.groups += 1
            self.descriptors = -(-self.groups * DESCRIPTOR_BYTES // PAGE_SIZE)
            self.own = 1 + self.descriptors + 2 + self.table
            room = self.groups * (GROUP - self.own)
        self.blocks = self.groups * GROUP - (room - pages - directory)

    def bitmap(self, group: int) -> int:
        """The first of a group's two bitmaps, which its inodes are behind; ahead is room for a copy of block 0."""
        return group * GROUP + 1 + self.descriptors

    def extents(self, begin: int, pages: int) -> list[Extent]:
        """Where so many pages are, behind the first `begin` of all."""
        found, done = [], 0
        while done < pages:
            group, offset = divmod(begin + done, GROUP - self.own)
            length = min(pages - done, GROUP - self.own - offset)
            found.append(Extent(done, group * GROUP + self.own + offset, length))
            done += length
        return found


def make_disk(files: Sequence[tuple[str, int]]) -> Disk:
    """Lay out files by name and pages, in order; each has its extents, of which it may have more than fit an inode."""
    directory = _directory([name for name, _ in files])
    layout = _Layout(sum(pages for _, pages in files), len(files), len(directory))
    root = layout.extents(0, len(directory))
    begin, found = len(directory), []
    for _, pages in files:
        found.append(layout.extents(begin, pages))
        begin += pages
    metadata = dict(_blocks(layout, root, found))
    metadata |= {root[0].block + i: block for i, block in enumerate(directory)}
    return Disk(layout.blocks, metadata, found)


def _directory(names: Sequence[str]) -> list[bytes]:
    """The blocks of the root directory: entries fill each block to its end."""
    blocks, block, last = [], b"", 0
    entries = [(ROOT, b".", IS_DIRECTORY), (ROOT, b"..", IS_DIRECTORY)]
    entries += [(FIRST + i, name.encode(), IS_REGULAR) for i, name in enumerate(names)]
    for inode, name, kind in entries:
        entry = struct.pack("<IHBB", inode, -(-(8 + len(name)) // 4) * 4, len(name), kind) + name
        entry += bytes(-len(entry) % 4)
        if len(block) + len(entry) > PAGE_SIZE:
            blocks.append(_filled(block, last))
            block = b""
        last = len(block)
        block += entry
    return [*blocks, _filled(block, last)]


def _filled(block: bytes, last: int) -> bytes:
    """A directory's block, whose last entry, which begins at `last`, goes to its end."""
    return block[: last + 4] + struct.pack("<H", PAGE_SIZE - last) + block[last + 6 :] + bytes(PAGE_SIZE - len(block))


def _blocks(layout: _Layout, root: list[Extent], files: list[list[Extent]]) -> Iterator[tuple[int, bytes]]:
    descriptors = b"".join(_descriptor(layout, group) for group in range(layout.groups))
    yield 0, (bytes(1024) + _superblock(layout)).ljust(PAGE_SIZE, b"\0")
    for i in range(layout.descriptors):
        yield 1 + i, descriptors[i * PAGE_SIZE : (i + 1) * PAGE_SIZE].ljust(PAGE_SIZE, b"\0")
    for group in range(layout.groups):
        for bitmap in range(2):
            yield layout.bitmap(group) + bitmap, b"\xff" * PAGE_SIZE
    inodes = {ROOT: _inode(DIRECTORY, 2, root)}
    inodes |= {FIRST + i: _inode(REGULAR, 1, extents[:EXTENTS_MAX]) for i, extents in enumerate(files)}
    table = b"".join(inodes.get(number, bytes(INODE_BYTES)) for number in range(1, layout.inodes + 1))
    for i in range(layout.table):
        yield layout.bitmap(0) + 2 + i, table[i * PAGE_SIZE : (i + 1) * PAGE_SIZE]


def _descriptor(layout: _Layout, group: int) -> bytes:
    bitmap = layout.bitmap(group)
    return struct.pack("<IIIHHH", bitmap, bitmap + 1, bitmap + 2, 0, 0, group == 0).ljust(DESCRIPTOR_BYTES, b"\0")


def _superblock(layout: _Layout) -> bytes:
    """Return a struct ext4_super_block, up to the sizes of inodes."""
    sizes = (layout.inodes * layout.groups, layout.blocks, 0, 0, 0, 0, 2, 2, GROUP, GROUP, layout.inodes, 0, 0)
    state = (0, 0xFFFF, 0xEF53, CLEAN, CONTINUE, 0, 0, 0, 0, DYNAMIC, 0, 0, FIRST, INODE_BYTES, 0)
    features = (0, FILETYPE | EXTENTS, SPARSE_SUPER | LARGE_FILE)
    packed = struct.pack("<13I HHHHHH 4I HH I HH 3I", *sizes, *state, *features)
    return packed.ljust(0x15C, b"\0") + struct.pack("<HH", INODE_EXTRA, INODE_EXTRA)


def _inode(mode: int, links: int, extents: Sequence[Extent]) -> bytes:
    pages = sum(each.pages for each in extents)
    tree = struct.pack("<HHHHI", EXTENT_MAGIC, len(extents), EXTENTS_MAX, 0, 0)
    tree += b"".join(struct.pack("<IHHI", each.page, each.pages, 0, each.block) for each in extents)
    size = pages * PAGE_SIZE
    head = struct.pack("<HHIIIIIHHIII", mode, 0, size % 2**32, 0, 0, 0, 0, 0, links, size // 512, HAS_EXTENTS, 0)
    inode = (head + tree.ljust(60, b"\0") + struct.pack("<III", 0, 0, size >> 32)).ljust(128, b"\0")
    return (inode + struct.pack("<H", INODE_EXTRA)).ljust(INODE_BYTES, b"\0")
