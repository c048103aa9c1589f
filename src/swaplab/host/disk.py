"""Measure the device below a directory as a swap device: one request at a time, past the page cache."""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from swaplab.errors import InputError
from swaplab.files import naming
from swaplab.host.timing import Rounds, Spread, spread
from swaplab.linux.page import PAGE_SIZE
from swaplab.scenario.device import Device

__all__ = ["DISK_STEPS", "DeviceMeasured", "Times", "device_of", "measure_device"]

BLOCK = 1 << 20
FILE_BYTES_MAX = 128 << 20
SECONDS = 1.0  # for each of the measurements
DISK_STEPS = 5
BYPASS = os.O_DIRECT
IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs", "hugetlbfs")

Step = Callable[[], None]
Transfer = Callable[[int, list[memoryview], int], int]


class DeviceMeasured(NamedTuple):
    """A device, and how far apart the requests were that it was measured with.

    Attributes:
        device: of medians.
        spreads: of whole requests, by what they do.
    """

    device: Device
    spreads: dict[str, Spread]


class Times(NamedTuple):
    """Nanoseconds: medians of a block of 1 MiB in order, and of a page in order and at random; and of the processor.

    The last is the mean that this process used for a write at random. What interrupts take is not in it where the
    kernel counts them apart.
    """

    write_block: float
    read_block: float
    read_page: float
    read_random_page: float
    write_random_page: float
    processor: float


def measure_device(
    directory: Path, *, size: int = FILE_BYTES_MAX, seconds: float = SECONDS, step: Step = lambda: None
) -> DeviceMeasured:
    """Measure with a temporary file, which has no name and so never stays behind.

    Args:
        directory: where; the file system has to allow O_DIRECT.
        size: of the file, in bytes; less if the time does not suffice.
        seconds: for each of five measurements.
        step: called after each.

    Raises:
        InputError: it is no directory that can be written, or its file system is in memory or does not allow O_DIRECT.
        OSError: it is full.
    """
    if not directory.is_dir():
        raise InputError(f"--device {directory}", "a directory on the device", "none")
    with (
        naming(directory),
        _temporary(directory) as file,
        _direct(file.fileno(), directory) as descriptor,
    ):
        if (kind := _file_system(os.fstat(descriptor).st_dev)) in IN_MEMORY:
            raise InputError(f"--device {directory}", "a directory on a device", f"one in memory ({kind})")
        rotational = _is_rotational(os.fstat(descriptor).st_dev)
        rounds, processor = _measure(descriptor, size, seconds, step)
    device = device_of(Times._make([*map(np.median, rounds.values()), processor]), rotational=rotational)
    return DeviceMeasured(device, {what: spread(each) for what, each in rounds.items()})


def _temporary(directory: Path) -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(dir=directory)
    except OSError as error:
        raise InputError(f"--device {directory}", "a directory that can be written", error.strerror) from None


@contextmanager
def _direct(descriptor: int, directory: Path) -> Iterator[int]:
    """Open an open file once more, past the page cache."""
    try:
        direct = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC | BYPASS)
    except OSError:
        raise InputError(f"--device {directory}", "a file system that allows O_DIRECT", "another") from None
    try:
        yield direct
    finally:
        os.close(direct)


def _measure(descriptor: int, size: int, seconds: float, step: Step) -> tuple[dict[str, Rounds], float]:
    """Return the times of all requests, in the order of `Times`, and what a write at random takes of the processor."""
    # Random bytes, since some devices compress.
    generator = np.random.default_rng(0)
    block = mmap.mmap(-1, BLOCK)  # aligned, as O_DIRECT wants it
    block.write(generator.bytes(BLOCK))
    whole, page = memoryview(block), memoryview(block)[:PAGE_SIZE]
    found = {}

    def measure(what: str, transfer: Transfer, buffer: memoryview, offsets: range | list[int]) -> float:
        found[what], processor = _time(transfer, descriptor, buffer, offsets, seconds)
        step()
        return processor

    measure("write 1 MiB in order", os.pwritev, whole, range(0, max(size // BLOCK, 1) * BLOCK, BLOCK))
    end = len(found["write 1 MiB in order"]) * BLOCK
    measure("read 1 MiB in order", os.preadv, whole, range(0, end, BLOCK))
    measure("read a page in order", os.preadv, page, range(0, end, PAGE_SIZE))
    scattered = [int(offset) for offset in generator.permutation(np.arange(0, end, PAGE_SIZE))]
    measure("read a page at random", os.preadv, page, scattered)
    processor = measure("write a page at random", os.pwritev, page, scattered)
    return found, processor


def _time(
    transfer: Transfer, descriptor: int, buffer: memoryview, offsets: range | list[int], seconds: float
) -> tuple[Rounds, float]:
    """Transfer at the offsets until the time is over: nanoseconds of each, and the processor's mean."""
    times: list[int] = []
    processor = time.thread_time_ns()
    end = time.perf_counter_ns() + round(seconds * 1e9)
    for offset in offsets:
        start = time.perf_counter_ns()
        if times and start > end:
            break
        if transfer(descriptor, [buffer], offset) < len(buffer):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        times.append(time.perf_counter_ns() - start)
    return np.array(times, np.float64), (time.thread_time_ns() - processor) / len(times)


def device_of(times: Times, *, rotational: bool) -> Device:
    """Take processor, latency, transfer and seek apart.

    On a rotational device a page in order shows the latency, and what one at random takes longer is the seek. A write
    at random then has the same seek in it, if the disk does not hide it in its cache.
    """
    read_bandwidth, write_bandwidth = BLOCK * 1e9 / times.read_block, BLOCK * 1e9 / times.write_block
    seek = max(0.0, times.read_random_page - times.read_page) if rotational else 0.0
    read = times.read_page if rotational else times.read_random_page
    write = max(times.write_random_page - seek, 0)
    submit = min(times.processor, read, write)
    return Device(
        read_latency_ns=_tidy(read - submit - PAGE_SIZE * 1e9 / read_bandwidth, 1000),
        write_latency_ns=_tidy(write - submit - PAGE_SIZE * 1e9 / write_bandwidth, 1000),
        read_bandwidth=_tidy(read_bandwidth, BLOCK),
        write_bandwidth=_tidy(write_bandwidth, BLOCK),
        submit_ns=_tidy(submit, 100),
        rotational=rotational,
        seek_ns=_tidy(seek, 1000) if rotational else 0,
    )


def _tidy(value: float, unit: int) -> int:
    """Round to a unit, for people; what is not even one is one."""
    return max(1, round(value / unit)) * unit


def _file_system(device: int, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The kind of the file system with a device's number; empty if that is not known."""
    number = f"{os.major(device)}:{os.minor(device)}".encode()
    for line in mounts.read_bytes().splitlines():
        mount, _, rest = line.partition(b" - ")
        if mount.split(b" ")[2] == number:
            return os.fsdecode(rest.split(b" ")[0])
    return ""


def _is_rotational(device: int, sys: Path = Path("/sys")) -> bool:
    """Whether the kernel says so of the disk; False if there is none below the file system."""
    disk = sys / "dev/block" / f"{os.major(device)}:{os.minor(device)}"
    for queue in (disk / "queue", disk.resolve().parent / "queue"):  # the latter of a partition
        if (queue / "rotational").exists():
            return (queue / "rotational").read_text().strip() == "1"
    return False
