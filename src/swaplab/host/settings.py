"""The settings of this machine that a scenario can have."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from swaplab.linux.crypto import COMPRESSORS
from swaplab.scenario.model import Machine, Zswap

__all__ = ["Settings", "machine_settings"]


class Settings(NamedTuple):
    """A machine's settings, and those of its zswap."""

    machine: Machine
    zswap: Zswap


def machine_settings(root: Path = Path("/")) -> Settings:
    """Read them; what the kernel does not tell, or the model does not have, is its default.

    Args:
        root: where /proc and /sys are.
    """
    machine, zswap = Machine(), Zswap()
    memory = re.search(r"^MemTotal: *(\d+) kB", _read(root, "proc/meminfo"), re.MULTILINE)
    generations = _read(root, "sys/kernel/mm/lru_gen/enabled")
    parameters = "sys/module/zswap/parameters"
    compressor = _read(root, f"{parameters}/compressor")
    return Settings(
        Machine(
            memory=int(memory[1]) << 10 if memory else machine.memory,
            lru="mglru" if generations and int(generations, 16) & 1 else "classic",
            page_cluster=_number(root, "proc/sys/vm/page-cluster", machine.page_cluster),
            swappiness=_number(root, "proc/sys/vm/swappiness", machine.swappiness),
        ),
        Zswap(
            enabled=_read(root, f"{parameters}/enabled") == "Y",
            compressor=next((name for name in COMPRESSORS if name == compressor), zswap.compressor),
            max_pool_percent=_number(root, f"{parameters}/max_pool_percent", zswap.max_pool_percent),
            accept_threshold_percent=_number(
                root, f"{parameters}/accept_threshold_percent", zswap.accept_threshold_percent
            ),
            shrinker_enabled=_read(root, f"{parameters}/shrinker_enabled") == "Y",
        ),
    )


def _read(root: Path, name: str) -> str:
    with suppress(OSError):
        return (root / name).read_text(errors="replace").strip()
    return ""


def _number(root: Path, name: str, default: int) -> int:
    text = _read(root, name)
    return int(text) if text.isdecimal() else default
