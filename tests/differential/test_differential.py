"""Both implementations of zswap do the same, step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.differential.pair import Pair

from swaplab.kernel.sync import Direct, install
from swaplab.linux.release import MODELLED, Modelled
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.content import Mix, Part, Ratio, SameFilled, Zero
from swaplab.scenario.content import Random as Incompressible
from swaplab.scenario.load import load_scenario
from swaplab.scenario.model import Zswap

PATHS = ("a", "a/x", "a/y", "b")
PAGES = 20
CONTENT = Mix(
    mix=(
        Part(weight=0.15, content=Zero()),
        Part(weight=0.1, content=Incompressible()),
        Part(weight=0.6, content=Ratio(ratio={"zstd": 2.5})),
        Part(weight=0.15, content=SameFilled(same_filled=0x42)),
    )
)
RECORDING = Path(__file__).parents[2] / "scenarios/recordings/index/scenario.toml"

Action = tuple[Any, ...]
paths = st.sampled_from(PATHS)
keys = st.integers(0, PAGES - 1)
# Reclaim and faults come in rows; alone they seldom fill anything.
actions: st.SearchStrategy[Action] = st.one_of(
    st.tuples(st.just("fill"), paths),
    st.tuples(st.just("drop"), paths),
    st.tuples(st.just("write"), paths, keys),
    st.tuples(st.just("read"), paths, keys),
    st.tuples(st.just("swap_out"), paths, keys),
    st.tuples(st.sampled_from(["discard", "unmap"]), paths, keys, st.integers(1, PAGES)),
    st.tuples(st.just("fork"), paths, paths, keys, st.integers(1, PAGES)),
    st.tuples(st.just("shrink"), paths, st.integers(0, 3)),
    st.tuples(st.just("work")),
    st.tuples(st.just("zswap_max"), paths, st.sampled_from([0, 1, 3, 1 << 20])),
    st.tuples(st.just("swap_max"), paths, st.sampled_from([0, 6, 1 << 20])),
    st.tuples(st.just("zswap_writeback"), paths, st.booleans()),
    st.tuples(st.just("enable"), st.booleans()),
    st.tuples(st.just("exit"), paths),
    st.tuples(st.just("remove"), paths),
)
settings_of_zswap = st.builds(
    Zswap,
    enabled=st.just(True),
    compressor=st.just("zstd"),
    max_pool_percent=st.integers(1, 3),
    accept_threshold_percent=st.integers(50, 100),
    shrinker_enabled=st.booleans(),
)


def act(pair: Pair, action: Action) -> None:
    """Do something to both, and compare."""
    name, *arguments = action
    if name in ("fill", "drop"):
        for key in range(PAGES):
            act(pair, ("write" if name == "fill" else "swap_out", *arguments, key))
    elif name in ("zswap_max", "swap_max"):
        pair.limit(arguments[0], **{name: arguments[1] * 4096})
    elif name == "zswap_writeback":
        pair.limit(arguments[0], zswap_writeback=arguments[1])
    else:
        getattr(pair, name)(*arguments)
    pair.check()


@given(st.lists(actions, max_size=30), settings_of_zswap, st.sampled_from([60, 200]), st.sampled_from(MODELLED))
@settings(max_examples=60)
def test_both_do_the_same(sequence: list[Action], zswap: Zswap, swap_pages: int, kernel: Modelled) -> None:
    with install(Direct()):
        pair = Pair(PATHS, PAGES, CONTENT, memory=1000, swap_pages=swap_pages, zswap=zswap, kernel=kernel)
        for action in sequence:
            act(pair, action)


def seeded_action(random: Random) -> Action:
    """A step of a long run: mostly faults and reclaim, in which limits change now and then, and once all ends."""
    path, key = random.choice(PATHS), random.randrange(PAGES)
    often: list[Action] = [("fill", path), ("drop", path), ("write", path, key), ("read", path, key)]
    seldom: list[Action] = [
        ("shrink", path, random.randrange(4)),
        (random.choice(["discard", "unmap"]), path, key, random.randrange(1, PAGES)),
        ("fork", path, random.choice(PATHS), key, random.randrange(1, PAGES)),
        ("zswap_max", path, random.choice([0, 1, 3, 1 << 20])),
        ("swap_max", path, random.choice([0, 6, 1 << 20, 1 << 20])),
        ("zswap_writeback", path, random.random() < 0.8),
        ("enable", random.random() < 0.9),
        ("exit", path) if random.random() < 0.1 else ("work",),
        ("remove", path) if random.random() < 0.1 else ("work",),
    ]
    return random.choice(often if random.random() < 0.7 else seldom)


def test_both_do_the_same_for_long_and_everything_happens() -> None:
    """What never happened would be compared in vain."""
    reached: Counter[str] = Counter()
    for seed in range(8):
        random, kernel = Random(seed), MODELLED[seed // 2 % 2]  # noqa: S311
        zswap = Zswap(enabled=True, compressor="zstd", max_pool_percent=1 + seed % 3, shrinker_enabled=seed % 2 > 0)
        swap_pages = 200 if seed % 4 else 60
        with install(Direct()):
            pair = Pair(PATHS, PAGES, CONTENT, memory=1000, swap_pages=swap_pages, zswap=zswap, kernel=kernel)
            for _ in range(120):
                act(pair, seeded_action(random))
            reached.update({name for name, count in pair.kernel.stat().items() if count})
    wanted = {"zswpin", "zswpout", "zswpwb", "pswpin", "pswpout", "swpin_zero", "swpout_zero", "pgmajfault"}
    wanted |= {"pool_limit_hit", "written_back_pages", "reject_compress_fail"}
    assert wanted <= set(reached)


def recorded(pages: int) -> Iterator[tuple[int, bool]]:
    """Accesses of a real program to the first pages that it uses, numbered as they appear, and whether each writes."""
    numbers: dict[int, int] = {}
    for chunk in Accesses(load_scenario(RECORDING)).chunks():
        for access in chunk.accesses.tolist():
            key = numbers.setdefault(access >> 1, len(numbers))
            if key < pages:
                yield key, bool(access & 1)


def test_both_do_the_same_on_a_recorded_trace() -> None:
    """What was not used for longest goes out, as if memory had room for a third of the pages."""
    pages, scenario = 150, load_scenario(RECORDING)
    zswap = Zswap(enabled=True, compressor="zstd", max_pool_percent=1, shrinker_enabled=True)
    content = scenario.workloads[0].content
    recency: dict[int, None] = {}
    with install(Direct()):
        pair = Pair(["a"], pages, content, memory=5000, swap_pages=200, zswap=zswap, base=scenario.base)
        for step, (key, write) in enumerate(islice(recorded(pages), 2500)):
            act(pair, ("write" if write or pair.is_new("a", key) else "read", "a", key))
            recency.pop(key, None)
            recency[key] = None
            if len(recency) > pages // 3:
                oldest = next(iter(recency))
                del recency[oldest]
                act(pair, ("swap_out", "a", oldest))
            if step % 500 == 499:
                act(pair, ("shrink", "a", 2))
        stat = pair.kernel.stat()
    assert min(stat["zswpin"], stat["zswpwb"]) > 50, stat


def test_a_difference_is_noticed() -> None:
    with install(Direct()):
        pair = Pair(PATHS, PAGES, CONTENT, memory=1000, swap_pages=200, zswap=Zswap(enabled=True, compressor="zstd"))
        act(pair, ("fill", "a"))
        act(pair, ("drop", "a"))
        pair.kernel.zswap.stored_pages.add(1)
        with pytest.raises(AssertionError, match="stored_pages: 11 in kernel/, 10 in replay/"):
            pair.check()
