"""The file behind a swap area: pages of 4096 bytes at the offsets of their slots."""

from __future__ import annotations

import os
from pathlib import Path

from swaplab.kernel.sync import Part, current
from swaplab.kernel.sync.runtime import ACQUIRE, READ, RELEASE, WRITE, operation
from swaplab.kernel.sync.shared import Element, Elements
from swaplab.linux.page import PAGE_SIZE

__all__ = ["SwapFile"]


class Descriptor(int):
    """Number of an open file: which it is, the operating system decides, and nothing depends on it."""

    __slots__ = ()


class SwapFile(Elements):
    """struct block_device: a file, or memory of the operating system that looks like one. Accesses to a slot conflict.

    Differs: a task that reads or writes waits for it, as on a device with SWP_SYNCHRONOUS_IO.

    Args:
        path: of the file, which is made, or emptied; None for one without a name that is gone with the last user.

    Raises:
        OSError: it cannot be made.
    """

    __slots__ = ("fd",)

    def __init__(self, path: Path | None) -> None:
        Elements.__init__(self, None, "swap file")
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self.fd = Descriptor(-1)
        self.fd = Descriptor(os.memfd_create("swap") if path is None else os.open(path, flags, 0o600))

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)

    def _make(self, slot: int) -> Part:
        return Element(self, slot)

    def peek(self, slot: int) -> bytes:
        """Return what is in a slot now."""
        return os.pread(self.fd, PAGE_SIZE, slot * PAGE_SIZE)

    @operation(READ | ACQUIRE, "submit_bio(read)", at=Elements.element)
    def _pread(self, slot: int) -> bytes:
        return os.pread(self.fd, PAGE_SIZE, slot * PAGE_SIZE)

    @operation(WRITE | RELEASE, "submit_bio(write)", at=Elements.element)
    def _pwrite(self, slot: int, data: bytes) -> int:
        return os.pwrite(self.fd, data, slot * PAGE_SIZE)

    def read(self, slot: int) -> bytes | None:
        """Read a page; None if the device fails.

        Raises:
            OSError: the file itself does.
        """
        if current.runtime.fails("read"):
            return None
        data = self._pread(slot)
        return data.ljust(PAGE_SIZE, b"\0")  # what was never written is a hole, or beyond the end

    def write(self, slot: int, data: bytes) -> bool:
        """Write a page, and tell whether the device did.

        Raises:
            OSError: the file itself failed, or took less than a page.
        """
        if current.runtime.fails("write"):
            return False
        written = self._pwrite(slot, data)
        if written != PAGE_SIZE:
            raise OSError(f"{self.name}: {written} of {PAGE_SIZE} bytes written")
        return True
