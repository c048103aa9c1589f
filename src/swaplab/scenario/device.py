"""Swap devices: what one read or write of a page costs.

A request of n bytes takes the processor `submit_ns`, and then its latency plus n / bandwidth. On a rotational device a
request that does not follow the one before it pays the seek as well.

The presets are typical of what data sheets give for a class of device, not a measurement of one:

- ``nvme``: data-centre TLC flash on PCIe 3.0 x4, 4 KiB at queue depth 1. Writes land in its protected buffer.
- ``ssd``: data-centre TLC flash on SATA 6 Gb/s, which also limits both bandwidths.
- ``hdd``: 7200 rpm. The seek is 8.5 ms of arm movement and half a turn, 4.2 ms.

What a request takes of the processor is that of Linux on a server: about 300,000 of them a second and core on NVMe, and
200,000 where SCSI lies between.

`swaplab calibrate --device DIRECTORY` measures the device at hand.
"""

from __future__ import annotations

from typing import Any

import msgspec

from swaplab.errors import InputError
from swaplab.scenario.units import format_duration, format_size, parse_duration, parse_size

__all__ = ["DEVICES", "Device"]

DURATIONS = {"read_latency", "write_latency", "submit", "seek"}
BANDWIDTHS = {"read_bandwidth", "write_bandwidth"}
REQUIRED = {"read_latency", "write_latency", "read_bandwidth", "write_bandwidth"}
_US, _MIB, _GIB = 10**3, 1 << 20, 1 << 30
ORDER = ("read_latency", "write_latency", "read_bandwidth", "write_bandwidth", "submit", "rotational", "seek")


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A swap device.

    Attributes:
        read_latency_ns: of a read, without the transfer, in nanoseconds.
        write_latency_ns: likewise of a write.
        read_bandwidth: bytes per second.
        write_bandwidth: bytes per second.
        submit_ns: processor time of a request, to prepare and submit it and to hear of its end.
        rotational: whether it is a disk: the kernel does no VMA readahead for it, and a jump costs a seek.
        seek_ns: of a request that does not follow the last one; 0 unless rotational.
    """

    read_latency_ns: int
    write_latency_ns: int
    read_bandwidth: int
    write_bandwidth: int
    submit_ns: int = 5 * _US
    rotational: bool = False
    seek_ns: int = 0

    @classmethod
    def from_toml(cls, value: object, where: object = "device") -> Device:
        """Return a device from the name of a preset or from a table, as a scenario has it.

        Args:
            value: ``"nvme"``, or ``{"read_latency": "80us", "write_latency": "20us", "read_bandwidth": "3G",
                "write_bandwidth": "2G"}`` with optional ``"submit"``, ``"rotational"`` and ``"seek"``.
            where: file and key, for errors.

        Raises:
            InputError: no such preset, a key missing or unknown, or a value out of range.
        """
        if isinstance(value, str) and value in DEVICES:
            return DEVICES[value]
        if not isinstance(value, dict):
            raise InputError(where, f"one of {', '.join(DEVICES)} or a table of its own", repr(value))
        _check_keys(value, where)
        device = msgspec.convert(dict(_decode(key, value[key], f"{where}.{key}") for key in value), cls)
        if device.rotational != (device.seek_ns > 0):
            raise InputError(f"{where}.seek", "a seek time exactly when rotational is true", value.get("seek", "none"))
        return device

    def to_toml(self) -> str:
        """Return the inline table that `from_toml` reads back as this device."""
        texts = {
            "read_latency": f'"{format_duration(self.read_latency_ns)}"',
            "write_latency": f'"{format_duration(self.write_latency_ns)}"',
            "read_bandwidth": f'"{format_size(self.read_bandwidth)}"',
            "write_bandwidth": f'"{format_size(self.write_bandwidth)}"',
            "submit": f'"{format_duration(self.submit_ns)}"',
        }
        if self.rotational:
            texts |= {"rotational": "true", "seek": f'"{format_duration(self.seek_ns)}"'}
        return "{ " + ", ".join(f"{key} = {text}" for key, text in texts.items()) + " }"


def _check_keys(table: dict[Any, Any], where: object) -> None:
    unknown = sorted(map(str, set(table) - set(ORDER)))
    if unknown:
        raise InputError(where, f"only the keys {', '.join(ORDER)}", ", ".join(unknown))
    missing = sorted(REQUIRED - set(table))
    if missing:
        raise InputError(where, f"the key {missing[0]}", "a table without it")


def _decode(key: str, value: object, where: str) -> tuple[str, int]:
    """Name and value of the field that a TOML key gives."""
    if key in DURATIONS:
        return f"{key}_ns", parse_duration(value, where)
    if key in BANDWIDTHS:
        bandwidth = parse_size(value, where)
        if not bandwidth:
            raise InputError(where, "a bandwidth above 0", repr(value))
        return key, bandwidth
    if not isinstance(value, bool):
        raise InputError(where, "true or false", repr(value))
    return key, value


DEVICES = {
    "nvme": Device(
        read_latency_ns=80 * _US,
        write_latency_ns=20 * _US,
        read_bandwidth=3 * _GIB,
        write_bandwidth=2 * _GIB,
        submit_ns=3 * _US,
    ),
    "ssd": Device(
        read_latency_ns=110 * _US,
        write_latency_ns=50 * _US,
        read_bandwidth=520 * _MIB,
        write_bandwidth=490 * _MIB,
    ),
    "hdd": Device(
        read_latency_ns=100 * _US,
        write_latency_ns=100 * _US,
        read_bandwidth=200 * _MIB,
        write_bandwidth=200 * _MIB,
        rotational=True,
        seek_ns=12_700 * _US,
    ),
}
