from __future__ import annotations

import pytest

from swaplab.doctor.facts import parse
from swaplab.doctor.rules import Finding, diagnose

ZRAM = "/dev/zram0 partition 4G 4G 100\n"
DISK = "/dev/sda2 partition 8G 1G -2\n"
POOL = "Zswapped: 3072 kB\nZswap: 1024 kB\n"


def found(text: str) -> dict[str, Finding]:
    return {each.name: each for each in diagnose(parse(text, "text"))}


@pytest.mark.parametrize(
    ("rule", "present", "absent"),
    [
        ("inversion", ZRAM + DISK, ZRAM + DISK.replace("-2", "200")),
        ("inversion", ZRAM + DISK, ZRAM),
        ("zswap-on-zram", ZRAM + "enabled: Y\n", ZRAM + "enabled: N\n"),
        ("zswap-on-zram", ZRAM + "enabled: Y\n", DISK + "enabled: Y\n"),
        ("compressor", "zswap.compressor=zstd\ncompressor: lzo\n", "zswap.compressor=lzo\ncompressor: lzo\n"),
        ("off", DISK + "enabled: N\n", DISK + "enabled: Y\n"),
        ("small-swap", POOL + "MemTotal: 64G\nmax_pool_percent: 20\n" + DISK, POOL + "MemTotal: 4G\n" + DISK),
        (
            "small-swap",
            POOL + "MemTotal: 64G\nmax_pool_percent: 20\n" + DISK,
            POOL + "MemTotal: 4G\nmax_pool_percent: 20\n" + DISK,
        ),
        ("memory.max", "memory.current 99M, memory.max 100M", "memory.current 9M, memory.max 100M"),
        ("memory.max", "memory.current 99M, memory.max 100M", "memory.current 99M, memory.max max"),
        ("memory.swap.max", "memory.swap.current 99M, memory.swap.max 100M", "memory.swap.current 99M"),
        ("memory.zswap.max", "memory.zswap.current 99M, memory.zswap.max 100M", "memory.zswap.current 99M"),
        ("no-writeback", "memory.zswap.writeback: 0, compress_fail 5", "memory.zswap.writeback: 1, compress_fail 5"),
        ("shrinker", "written back 5, limit hit 0", "written back 5, limit hit 3"),
        ("pool-limit", "written back 5, limit hit 3", "written back 5, limit hit 0"),
        ("damaged", "decompress_fail 1", "decompress_fail 0, stored 1"),
        ("rejects", "reject_alloc_fail 1", "reject_alloc_fail 0"),
        ("hits", "zswpin 5, pswpin 5", "zswpin 5"),
        ("room", POOL + "MemTotal: 64G\nmax_pool_percent: 20\n", POOL + "max_pool_percent: 20\n"),
    ],
)
def test_a_rule_speaks_when_it_has_cause(rule: str, present: str, absent: str) -> None:
    assert rule in found(present)
    assert rule not in found(absent)


def test_who_wrote_back_where_the_shrinker_is_off() -> None:
    assert "memory.zswap.max" in found("written back 5, limit hit 0, shrinker off")["shrinker"].title


def test_problems_name_a_setting_and_answers_do_not() -> None:
    text = (
        ZRAM + DISK + POOL + "enabled: Y\nwritten back 5, limit hit 3, compress_fail 9, zswpout 10, zswpin 4, pswpin 1"
    )
    each = diagnose(parse(text, "text"))
    assert len(each) >= 6
    assert all(bool(finding.setting) == (finding.kind == "problem") for finding in each)


def test_cgroups_are_explained_by_what_their_machine_counts() -> None:
    text = """/sys/kernel/debug/zswap/pool_limit_hit:0
/sys/module/zswap/parameters/shrinker_enabled:Y
/sys/fs/cgroup/small/memory.stat:zswapped 4096
/sys/fs/cgroup/small/memory.stat:zswap 2048
/sys/fs/cgroup/large/memory.stat:zswapped 12288
/sys/fs/cgroup/large/memory.stat:zswap 4096
/sys/fs/cgroup/large/memory.stat:zswpwb 7
/sys/fs/cgroup/idle/memory.stat:anon 4096
"""
    each = [(finding.cgroup, finding.name, finding.title) for finding in diagnose(parse(text, "text"))]
    assert each == [
        ("large", "ratio", "zswap compresses 3.00 to 1"),
        ("large", "shrinker", "7 pages were written back by the shrinker"),
        ("small", "ratio", "zswap compresses 2.00 to 1"),
    ]
