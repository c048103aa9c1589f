from __future__ import annotations

import pytest

from swaplab.doctor.facts import Area, Facts, parse
from swaplab.errors import InputError


def number(text: str, name: str) -> int | None:
    return parse(text, "text").machine.number(name)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("Zswapped:        1615368 kB", "Zswapped", 1615368 << 10),
        ("Zswapped 1,615,368", "Zswapped", 1615368 << 10),
        ("/proc/meminfo:Zswapped:  8 kB", "Zswapped", 8192),
        ("zswapped 8192", "zswapped", 8192),
        ("zswapped=2 pages", "zswapped", 8192),
        ("anon 1.5G", "anon", 3 << 29),
        ("anon 1.5GiB", "anon", 3 << 29),
        ("pool 1.5 GB", "pool_total_size", 1_500_000_000),
        ("zswpin 13.86M", "zswpin", 13_860_000),
        ("zswpin: 20K", "zswpin", 20_000),
        ("stored 3, limit hit 7", "pool_limit_hit", 7),
        ("max_pool_percent 20 %", "max_pool_percent", 20),
        ("/sys/kernel/debug/zswap/stored_pages:12", "stored_pages", 12),
        ("swap.current 10", "memory.swap.current", 10),
        ("memory.swap.current 10", "memory.swap.current", 10),
        ("/proc/sys/vm/page-cluster:3", "page-cluster", 3),
    ],
)
def test_numbers(text: str, name: str, value: int) -> None:
    assert number(text, name) == value


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("inactive_anon 123, stored 1", "anon"),
        ("the pool is 20 % of memory; stored 1", "pool_total_size"),
        ("pool 20 %, stored 1", "pool_total_size"),
        ("memory.max max, stored 1", "memory.max"),
        ("zswap is on, stored 1", "zswap"),
    ],
)
def test_what_is_no_number_of_that_name(text: str, name: str) -> None:
    assert number(text, name) is None


def test_the_directory_of_all_cgroups_is_no_file_of_one() -> None:
    assert number("/sys/fs/cgroup: stored 1", "stored_pages") == 1


@pytest.mark.parametrize("text", [f"stored {1 << 64}", "anon 18000000T", f"/dev/a file {9 * 10**18} 0 -2"])
def test_what_no_kernel_counts_to_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="text: line 2: expected numbers of at most 64 bits, found "):
        parse(f"\n{text}", "text")


@pytest.mark.parametrize("text", ["shrinker_enabled:Y", "shrinker on", "shrinker_enabled 1", "zswap: shrinker=Yes"])
def test_switches(text: str) -> None:
    assert parse(text, "text").machine.is_on("shrinker_enabled") is True


def test_what_was_asked_for_is_not_what_is_active() -> None:
    text = "/proc/cmdline:quiet zswap.compressor=zstd\n/sys/module/zswap/parameters/compressor:lzo\n"
    facts = parse(text, "text").machine
    assert (facts.word("zswap.compressor"), facts.word("compressor")) == ("zstd", "lzo")


def test_cgroups_by_the_paths_of_their_files() -> None:
    text = """/sys/fs/cgroup/memory.stat:zswapped 4096
/sys/fs/cgroup/a/b/memory.stat:zswapped 8192
/sys/fs/cgroup/a/b/memory.max:max
/sys/fs/cgroup/a/b/memory.swap.current:12288
"""
    found = parse(text, "text")
    assert set(found.cgroups) == {"", "a/b"}
    assert found.cgroups["a/b"].number("zswapped") == 8192
    assert found.cgroups["a/b"].number("memory.max") is None
    assert "memory.max" in found.cgroups["a/b"]
    assert found.machine == Facts()


@pytest.mark.parametrize(
    "text",
    [
        "Filename\tType\tSize\tUsed\tPriority\n/dev/zram0  partition\t2048\t1024\t100\n",
        "/proc/swaps:Filename Type Size Used Priority\n/proc/swaps:/dev/zram0   partition 2048 1024 100\n",
        "NAME       TYPE      SIZE USED PRIO\n/dev/zram0 partition   2M   1M  100\n",
    ],
)
def test_swap_areas(text: str) -> None:
    (area,) = parse(text, "text").areas
    assert area._replace(error=0) == Area("/dev/zram0", 2 << 20, 1 << 20, 0, 100)
    assert area.is_zram


def test_rounding_is_kept() -> None:
    readings = parse("anon 2.5G, zswapped 3M, zswap 4096", "text").machine.readings
    assert [readings[name].error for name in ("anon", "zswapped", "zswap")] == [(1 << 30) // 20, 1 << 19, 0]


def test_a_counter_with_two_values_is_refused() -> None:
    with pytest.raises(InputError, match=r"report: line 3: expected zswap once, as in report: line 1"):
        parse("zswap 1\nanon 2\nzswap 3\n", "report")
    assert number("zswap 1\nzswap 1\n", "zswap") == 1


@pytest.mark.parametrize("text", ["", "hello", "\0\0", "zswap is nice"])
def test_a_text_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected counters of zswap or swap"):
        parse(text, "report")
