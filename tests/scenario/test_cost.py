from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaplab.errors import InputError
from swaplab.linux.crypto import COMPRESSORS
from swaplab.scenario.cost import DEFAULT_COST, Cost, load_cost
from swaplab.scenario.device import DEVICES, Device


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cost") / "cost.toml"


def test_the_default_covers_every_compressor() -> None:
    assert set(DEFAULT_COST.compress_ns) == set(DEFAULT_COST.decompress_ns) == set(COMPRESSORS)


@pytest.mark.parametrize("device", [None, *DEVICES.values()])
def test_a_device_reads_back(path: Path, device: Device | None) -> None:
    cost: Cost = msgspec.structs.replace(DEFAULT_COST, device=device)
    path.write_text(cost.to_toml())
    assert load_cost(path) == cost
    assert msgspec.json.decode(msgspec.json.encode(cost), type=Cost) == cost


def test_a_mark_before_the_text_is_none_of_it(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + DEFAULT_COST.to_toml().encode())
    assert load_cost(path) == DEFAULT_COST


@given(st.text(st.characters(codec="utf-8")), st.integers(0, 10**9))
def test_files_read_back(path: Path, source: str, nanoseconds: int) -> None:
    cost: Cost = msgspec.structs.replace(DEFAULT_COST, source=source, reclaim_page_ns=nanoseconds)
    path.write_bytes(cost.to_toml().encode())
    assert load_cost(path) == cost


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("access_ns = ", "access_ns = -", r"access_ns"),
        ("access_ns = ", "access_ns = 1.", r"access_ns"),
        ("access_ns = ", "excess_ns = ", r"excess_ns"),
        ("access_ns = ", "access_ns = = ", r"expected TOML"),
        ("lz4 = ", "lz5 = ", r"cost\.toml: compress_ns: expected exactly lzo, .*lz5"),
        ("[compress", "device = 'fast'\n[compress", r"cost\.toml: device: expected one of nvme"),
        ("[compress", "device = {seek = 1}\n[compress", r"cost\.toml: device: expected the key read_band"),
        ("source", "#" * (1 << 16) + "\nsource", r"at most 65536 bytes"),
    ],
)
def test_what_is_no_cost_file(path: Path, old: str, new: str, message: str) -> None:
    path.write_text(DEFAULT_COST.to_toml().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        load_cost(path)


def test_a_file_that_is_not_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="expected TOML"):
        load_cost(path)
