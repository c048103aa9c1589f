from __future__ import annotations

import tomllib
from typing import Any

import pytest

from swaplab.errors import InputError
from swaplab.scenario.device import DEVICES, Device

TABLE = {"read_latency": "80us", "write_latency": "20us", "read_bandwidth": "3G", "write_bandwidth": "2G"}


def test_a_table() -> None:
    device = Device.from_toml(TABLE | {"submit": "7us", "rotational": True, "seek": "8ms"})
    assert device == Device(
        read_latency_ns=80_000,
        write_latency_ns=20_000,
        read_bandwidth=3 << 30,
        write_bandwidth=2 << 30,
        submit_ns=7_000,
        rotational=True,
        seek_ns=8_000_000,
    )


@pytest.mark.parametrize("name", DEVICES)
def test_presets_read_back(name: str) -> None:
    device = Device.from_toml(name)
    assert Device.from_toml(tomllib.loads(f"device = {device.to_toml()}")["device"]) == device


def test_presets_are_ordered_by_speed() -> None:
    nvme, ssd, hdd = (DEVICES[name] for name in ("nvme", "ssd", "hdd"))
    assert nvme.read_latency_ns < ssd.read_latency_ns < hdd.read_latency_ns + hdd.seek_ns
    assert nvme.read_bandwidth > ssd.read_bandwidth > hdd.read_bandwidth
    assert [nvme.rotational, ssd.rotational, hdd.rotational] == [False, False, True]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("floppy", r"s\.toml: device: expected one of nvme, ssd, hdd .*'floppy'"),
        (7, r"s\.toml: device: expected one of nvme"),
        (TABLE | {"colour": "red"}, r"s\.toml: device: expected only the keys .*found colour"),
        ({"read_latency": "80us"}, r"s\.toml: device: expected the key read_bandwidth"),
        (TABLE | {"read_bandwidth": "0"}, r"device\.read_bandwidth: expected a bandwidth above 0"),
        (TABLE | {"read_latency": 80}, r"device\.read_latency: expected a duration"),
        (TABLE | {"rotational": 1}, r"device\.rotational: expected true or false"),
        (TABLE | {"rotational": True}, r"device\.seek: expected a seek time exactly when rotational"),
        (TABLE | {"seek": "1ms"}, r"device\.seek: expected a seek time exactly when rotational"),
    ],
)
def test_what_is_no_device(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Device.from_toml(value, "s.toml: device")
