"""The file behind a swap area: pages of 4096 bytes at the offsets of their slots."""

from __future__ import annotations

import os
from pathlib import Path

from swaplab.kernel.page_alloc import PAGE_SIZE
from swaplab.kernel.sync import Part, current
from swaplab.kernel.sync.runtime import ACQUIRE, READ, RELEASE, WRITE, operation

__all__ = ["SwapFile"]


class Sector(Part):
    """A slot's page on the device, which is what accesses conflict about."""

    __slots__ = ("fd", "offset")

    def __init__(self, fd: int, slot: int) -> None:
        super().__init__(None, f"swap file[{slot}]")
        self.fd = fd
        self.offset = slot * PAGE_SIZE

    @operation(READ | ACQUIRE, "submit_bio(read)")
    def read(self) -> bytes:
        """Read what is there, which is less than a page at the end of the file."""
        return os.pread(self.fd, PAGE_SIZE, self.offset)

    @operation(WRITE | RELEASE, "submit_bio(write)")
    def write(self, data: bytes) -> int:
        """Write, and return how many bytes were."""
        return os.pwrite(self.fd, data, self.offset)


class SwapFile(Part):
    """struct block_device: a file, or memory of the operating system that looks like one.

    Differs: whoever reads or writes waits for it, as on a device with SWP_SYNCHRONOUS_IO.

    Args:
        path: of the file, which is made, or emptied; None for one without a name that is gone with the last user.

    Raises:
        OSError: it cannot be made.
    """

    __slots__ = ("fd", "sectors")

    def __init__(self, path: Path | None) -> None:
        super().__init__(None, "swap file")
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self.fd = -1
        self.fd = os.memfd_create("swap") if path is None else os.open(path, flags, 0o600)
        self.sectors: dict[int, Sector] = {}

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)

    def _sector(self, slot: int) -> Sector:
        return self.sectors.get(slot) or self.sectors.setdefault(slot, Sector(self.fd, slot))

    def read(self, slot: int) -> bytes | None:
        """Read a page; None if the device fails.

        Raises:
            OSError: the file itself does.
        """
        if current.runtime.fails("read"):
            return None
        data = self._sector(slot).read()
        return data.ljust(PAGE_SIZE, b"\0")  # what was never written is a hole

    def write(self, slot: int, data: bytes) -> bool:
        """Write a page, and tell whether the device did.

        Raises:
            OSError: the file itself failed, or took less than a page.
        """
        if current.runtime.fails("write"):
            return False
        written = self._sector(slot).write(data)
        if written != PAGE_SIZE:
            raise OSError(f"{self.name}: {written} of {PAGE_SIZE} bytes written")
        return True
