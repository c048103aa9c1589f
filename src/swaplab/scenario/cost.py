"""Costs on the replay's virtual clock: mean nanoseconds of processor time.

A cost file is TOML with the fields of `Cost` as keys; `swaplab calibrate -o FILE` measures and writes one.
Device time is not among them but in `Device`, which a file may hold as well: a scenario that names no device has it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec

from swaplab.errors import InputError
from swaplab.linux.crypto import COMPRESSORS
from swaplab.scenario.device import Device
from swaplab.scenario.regular import read_regular
from swaplab.scenario.toml import parse_toml

__all__ = ["DEFAULT_COST", "Cost", "load_cost"]

COST_FILE_BYTES_MAX = 1 << 16
# A second: nothing that happens to one page takes that long, and sums of it fit an int64.
Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=10**9)]


class Cost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Costs of one machine, in whole nanoseconds.

    Attributes:
        access_ns: an access to a resident page.
        fault_minor_ns: a first touch: fault, zeroed page, return.
        fault_major_ns: a fault on a swapped page without what is counted apart: decompression, device.
        compress_ns: a 4 KiB page, for every name in `COMPRESSORS`.
        decompress_ns: likewise.
        reclaim_page_ns: examining one page on an LRU list.
        source: where and when this was measured.
        device: for scenarios that name none; None where none was measured.
    """

    access_ns: Nanoseconds
    fault_minor_ns: Nanoseconds
    fault_major_ns: Nanoseconds
    compress_ns: dict[str, Nanoseconds]
    decompress_ns: dict[str, Nanoseconds]
    reclaim_page_ns: Nanoseconds
    source: str = ""
    device: Device | None = None

    def to_toml(self) -> str:
        """Return the text of the file that `load_cost` reads back as this cost."""
        fields = msgspec.to_builtins(msgspec.structs.replace(self, device=None))
        tables = {key: value for key, value in fields.items() if isinstance(value, dict)}
        lines = [f"{key} = {_toml_value(value)}" for key, value in fields.items() if key not in tables]
        lines += [f"device = {self.device.to_toml()}"] if self.device else []
        for key, table in tables.items():
            lines += ["", f"[{key}]", *(f"{name} = {value}" for name, value in table.items())]
        return "\n".join(lines) + "\n"


def _toml_value(value: int | str) -> str:
    """Return a number or a basic string: JSON's escapes are TOML's, but JSON leaves DEL as it is."""
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")


def _read_toml(path: Path) -> dict[str, Any]:
    data = read_regular(path, COST_FILE_BYTES_MAX)
    try:
        return parse_toml(data.decode("utf-8-sig"), path)
    except UnicodeDecodeError as error:
        raise InputError(path, "TOML", error) from None


def load_cost(path: Path) -> Cost:
    """Read a cost file.

    Raises:
        InputError: not TOML, a key missing, unknown or out of range, or a compressor missing or unknown.
        OSError: the file cannot be read.
    """
    table = _read_toml(path)
    device = Device.from_toml(table.pop("device"), f"{path}: device") if "device" in table else None
    try:
        cost = msgspec.structs.replace(msgspec.convert(table, Cost), device=device)
    except msgspec.ValidationError as error:
        raise InputError(path, "the keys and values of a cost file", error) from None
    for key, table in (("compress_ns", cost.compress_ns), ("decompress_ns", cost.decompress_ns)):
        if set(table) != set(COMPRESSORS):
            raise InputError(f"{path}: {key}", f"exactly {', '.join(COMPRESSORS)}", ", ".join(table) or "nothing")
    return cost


DEFAULT_COST = Cost(
    source="swaplab calibrate, 2026-11, AMD EPYC, Linux 6.18, a virtual machine (faults cost more in one)",
    access_ns=9,
    fault_minor_ns=1880,
    fault_major_ns=2140,
    reclaim_page_ns=93,
    compress_ns={"lzo": 4850, "lzo-rle": 4580, "lz4": 5780, "zstd": 16000, "deflate": 93000},
    decompress_ns={"lzo": 3650, "lzo-rle": 3550, "lz4": 1800, "zstd": 6100, "deflate": 12800},
)
