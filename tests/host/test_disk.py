from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from swaplab.errors import InputError
from swaplab.host import disk
from swaplab.host.disk import DISK_STEPS, Times, device_of, measure_device
from swaplab.scenario.device import Device

MIB = 1 << 20
# 1 GiB/s to read and 512 MiB/s to write: a page takes 3815 and 7629 ns.
TIMES = Times(
    write_block=1e9 / 512,
    read_block=1e9 / 1024,
    read_page=57_815,
    read_random_page=87_815,
    write_random_page=31_629,
    processor=4_000,
)


def test_latency_is_without_processor_and_transfer() -> None:
    assert device_of(TIMES, rotational=False) == Device(
        read_latency_ns=80_000,
        write_latency_ns=20_000,
        read_bandwidth=1024 * MIB,
        write_bandwidth=512 * MIB,
        submit_ns=4_000,
    )


def test_a_jump_on_a_disk_costs_a_seek() -> None:
    times = TIMES._replace(read_random_page=8_057_815, write_random_page=8_061_629)
    assert device_of(times, rotational=True) == Device(
        read_latency_ns=50_000,
        write_latency_ns=50_000,
        read_bandwidth=1024 * MIB,
        write_bandwidth=512 * MIB,
        submit_ns=4_000,
        rotational=True,
        seek_ns=8_000_000,
    )


def test_what_cannot_be_is_never_measured() -> None:
    """A cache that hides seeks, and a page faster than its transfer, still give a device that can be used."""
    times = Times(
        write_block=1e12, read_block=1e12, read_page=5, read_random_page=4, write_random_page=3, processor=1e9
    )
    for rotational in (False, True):
        device = device_of(times, rotational=rotational)
        assert Device.from_toml(toml(device)) == device


def toml(device: Device) -> dict[str, object]:
    return dict(tomllib.loads(f"device = {device.to_toml()}")["device"])


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory of the tests may be on a file system without O_DIRECT."""
    monkeypatch.setattr(disk, "BYPASS", 0)


@pytest.mark.usefixtures("cached")
def test_a_real_directory(tmp_path: Path) -> None:
    steps: list[None] = []
    device, spreads = measure_device(tmp_path, size=2 * MIB, seconds=0.02, step=lambda: steps.append(None))
    assert len(steps) == len(spreads) == DISK_STEPS
    assert all(1 <= each.low <= each.median <= each.high for each in spreads.values())
    assert Device.from_toml(toml(device)) == device
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("cached")
def test_time_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the disk is: one transfer in each measurement when the time is over at once."""
    lengths: list[int] = []

    def write(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        lengths.append(len(buffers[0]))
        return os.pwrite(descriptor, buffers[0], offset)

    monkeypatch.setattr("swaplab.host.disk.os.pwritev", write)
    measure_device(tmp_path, seconds=0)
    assert lengths == [MIB, 4096]


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--device .*nowhere: expected a directory on the device"):
        measure_device(tmp_path / "nowhere")


def test_no_direct_access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "BYPASS", os.O_DIRECTORY)  # refused for a file, as O_DIRECT is where there is none
    with pytest.raises(InputError, match="expected a file system that allows O_DIRECT"):
        measure_device(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("cached")
def test_what_is_in_memory_is_no_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_file_system", lambda device: "tmpfs")
    with pytest.raises(
        InputError, match=r"--device .*: expected a directory on a device, found one in memory \(tmpfs\)"
    ):
        measure_device(tmp_path)


def test_file_systems(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(
        b"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        b"31 22 0:27 / /dev/shm\xff rw - tmpfs tmpfs rw,size=4096k\n"
    )
    assert disk._file_system(os.makedev(254, 0), mounts) == "ext4"
    assert disk._file_system(os.makedev(0, 27), mounts) == "tmpfs"
    assert disk._file_system(os.makedev(0, 28), mounts) == ""


@pytest.mark.parametrize(("says", "rotational"), [("1\n", True), ("0\n", False), (None, False)])
@pytest.mark.parametrize("partition", [False, True])
def test_rotational(tmp_path: Path, says: str | None, rotational: bool, partition: bool) -> None:
    device = tmp_path.stat().st_dev
    block = tmp_path / "devices" / "sda"
    (block / "queue").mkdir(parents=True)
    (block / "sda1").mkdir()
    if says:
        (block / "queue" / "rotational").write_text(says)
    (tmp_path / "dev" / "block").mkdir(parents=True)
    link = tmp_path / "dev" / "block" / f"{os.major(device)}:{os.minor(device)}"
    link.symlink_to(block / "sda1" if partition else block)
    assert disk._is_rotational(device, tmp_path) is rotational
