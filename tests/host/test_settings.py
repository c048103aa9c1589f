"""Settings of machines, as their files say."""

from __future__ import annotations

from pathlib import Path

from swaplab.host.settings import Settings, machine_settings
from swaplab.scenario.model import Machine, Zswap


def test_they_are_read(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": "MemTotal:       2097152 kB\nMemFree:          1 kB\n",
        "proc/sys/vm/page-cluster": "3\n",
        "proc/sys/vm/swappiness": "100\n",
        "sys/kernel/mm/lru_gen/enabled": "0x0007\n",
        "sys/module/zswap/parameters/enabled": "Y\n",
        "sys/module/zswap/parameters/compressor": "zstd\n",
        "sys/module/zswap/parameters/max_pool_percent": "35\n",
        "sys/module/zswap/parameters/accept_threshold_percent": "80\n",
        "sys/module/zswap/parameters/shrinker_enabled": "Y\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine_settings(tmp_path) == Settings(
        Machine(memory=2 << 30, lru="mglru", page_cluster=3, swappiness=100),
        Zswap(
            enabled=True,
            compressor="zstd",
            max_pool_percent=35,
            accept_threshold_percent=80,
            shrinker_enabled=True,
        ),
    )


def test_what_is_not_told_is_the_default(tmp_path: Path) -> None:
    parameters = tmp_path / "sys/module/zswap/parameters"
    parameters.mkdir(parents=True)
    (parameters / "compressor").write_text("842\n")
    assert machine_settings(tmp_path) == Settings(Machine(), Zswap())
