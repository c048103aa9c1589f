"""The counters and settings of this machine, as the text that `swaplab.doctor.facts` reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["CGROUPS", "FILES", "read_machine"]

FILES: Final = (
    *("proc/meminfo", "proc/vmstat", "proc/swaps", "proc/cmdline"),
    *("proc/sys/vm/swappiness", "proc/sys/vm/page-cluster", "sys/kernel/mm/lru_gen/enabled"),
)
DIRECTORIES: Final = ("sys/module/zswap/parameters", "sys/kernel/debug/zswap")
CGROUPS: Final = "sys/fs/cgroup"
CGROUP_FILES: Final = (
    *("memory.stat", "memory.current", "memory.max", "memory.high", "memory.swap.current", "memory.swap.max"),
    *("memory.zswap.current", "memory.zswap.max", "memory.zswap.writeback"),
)


def read_machine(root: Path = Path("/")) -> tuple[str, list[str]]:
    """Read all that this user may read.

    Args:
        root: where ``proc`` and ``sys`` are.

    Returns:
        The lines of all files, each under its file's name, and what could not be read and why.
    """
    lines: list[str] = []
    unread: list[str] = []
    for path in _files(root, unread):
        shown = f"/{path.relative_to(root)}"
        try:
            text = path.read_bytes().decode(errors="surrogateescape")
        except FileNotFoundError:
            continue
        except OSError as error:
            unread.append(f"{shown}: {error.strerror}")
            continue
        lines += [f"{shown}:{line}" for line in text.splitlines()]
    return "\n".join(lines), unread


def _files(root: Path, unread: list[str]) -> Iterator[Path]:
    yield from (root / name for name in FILES)
    for name in DIRECTORIES:
        try:
            yield from sorted(path for path in (root / name).iterdir() if path.is_file())
        except FileNotFoundError:
            unread.append(f"/{name}: not there")
        except OSError as error:
            unread.append(f"/{name}: {error.strerror}")
    for stat in sorted((root / CGROUPS).rglob("memory.stat")):
        yield from (stat.with_name(name) for name in CGROUP_FILES)
