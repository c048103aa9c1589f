"""Reports that people posted, as numbers: what they say and what their owners made of them."""

from __future__ import annotations

from pathlib import Path

from swaplab.doctor.facts import parse
from swaplab.doctor.rules import Finding, diagnose

HERE = Path(__file__).parent


def findings(name: str) -> dict[str, Finding]:
    return {each.name: each for each in diagnose(parse((HERE / name).read_text(), name))}


def test_the_ratio_is_not_swap_by_pool() -> None:
    found = findings("limited_cgroup.txt")
    assert found["ratio"].title == "zswap compresses 3.18 to 1"
    assert "not 5.27" in found["ratio"].evidence[1]
    assert found["where"].title.startswith("46M is on disk")
    assert "60% is in zswap and 39% in memory" in found["where"].consequence
    assert not {"shrinker", "pool-limit"} & set(found)


def test_a_pool_that_is_full() -> None:
    found = findings("full_pool.txt")
    assert found["ratio"].title == "zswap compresses 1.47 to 1"
    assert found["pool-limit"].kind == "problem"
    assert "8,353" in found["pool-limit"].evidence[0]
    assert "14% of the 18,030,000" in found["pool-limit"].evidence[0]
    assert found["incompressible"].evidence[0].endswith("= 6,802,217")
    assert found["incompressible"].title.startswith("27%")
    assert "shrinker" not in found


def test_the_shrinker_wrote_back() -> None:
    found = findings("shrinker.txt")
    assert found["ratio"].title == "zswap compresses 3.29 to 1"
    assert found["shrinker"].title == "368,039 pages were written back by the shrinker"
    assert "not the pool's limit" in found["shrinker"].evidence[0]
    assert found["room"].title == "The pool is 58% full"


def test_same_filled_pages_take_no_room() -> None:
    found = findings("same_filled.txt")
    assert found["ratio"].title == "zswap compresses 3.82 to 1"
    assert found["ratio"].evidence[1].endswith("3.19")
    assert "the shrinker (shrinker_enabled), or a cgroup's memory.zswap.max" in found["shrinker"].title


def test_how_much_is_on_disk() -> None:
    found = findings("swap_cache.txt")
    assert found["ratio"].title == "zswap compresses 2.71 to 1"
    assert found["where"].title == "115M is on disk, or was all zeros"
    assert "give or take 51M by rounding" in found["where"].evidence[0]
