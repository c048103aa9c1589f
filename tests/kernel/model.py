"""What a machine does, seen from outside: pages keep their bytes. Random sequences of what one can do with one."""

from __future__ import annotations

from errno import EBUSY
from random import Random
from typing import Any

import pytest
from hypothesis import strategies as st

from swaplab.kernel.machine import Cgroup, Machine

PATHS = ("a", "b", "a/c", "b/d", "a/c/e")
KEYS = 24

Action = tuple[Any, ...]


def content(kind: int, seed: int) -> bytes:
    """A page of bytes: zeros, very repetitive, somewhat, or not compressible at all."""
    state = seed * 2654435761 % (1 << 32) or 1
    noise = bytearray()
    for _ in range(512):
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        noise += state.to_bytes(8, "little")
    return (
        bytes(4096),
        seed.to_bytes(4, "little") * 1024,
        bytes(noise[:1500]) + seed.to_bytes(4, "little") * 649,
        bytes(noise),
    )[kind]


PAGES = [content(kind, seed) for kind in range(4) for seed in range(1, 8)]

paths = st.sampled_from(PATHS)
keys = st.integers(0, KEYS - 1)
actions: st.SearchStrategy[Action] = st.one_of(
    st.tuples(st.just("write"), paths, keys, st.integers(0, len(PAGES) - 1)),
    st.tuples(st.just("read"), paths, keys),
    st.tuples(st.just("swap_out"), paths, keys),
    st.tuples(st.just("fill"), paths, st.integers(0, len(PAGES) - 1)),
    st.tuples(st.just("swap_out_all"), paths),
    st.tuples(st.just("discard"), paths, keys),
    st.tuples(st.just("fork"), paths, paths, keys),
    st.tuples(st.just("reclaim"), paths, st.integers(1, 40)),
    st.tuples(st.just("limit"), paths, st.integers(1, 30)),
    st.tuples(st.just("zswap_max"), paths, st.sampled_from([0, 1, 3, 1 << 20])),
    st.tuples(st.just("zswap_writeback"), paths, st.booleans()),
    st.tuples(st.just("remove"), paths),
    st.tuples(st.just("exit"), paths),
    st.tuples(st.just("compressor"), st.sampled_from(["lz4", "lzo-rle", "deflate"])),
    st.tuples(st.just("zswap"), st.sampled_from([0, 1, 20])),
    st.tuples(st.just("shrinker"), st.booleans()),
    st.tuples(st.just("swapoff")),
)


def seeded_action(random: Random) -> Action:
    """A step of a long run: mostly whole processes in and out, so that limits have something to bite on."""
    path, key, page = random.choice(PATHS), random.randrange(KEYS), random.randrange(len(PAGES))
    often: list[Action] = [
        ("write", path, key, page),
        ("read", path, key),
        ("fill", path, page),
        ("swap_out_all", path),
    ]
    seldom: list[Action] = [
        ("swap_out", path, key),
        ("discard", path, key),
        ("fork", path, random.choice(PATHS), key),
        ("reclaim", path, random.randrange(1, 40)),
        ("limit", path, random.randrange(1, 30)),
        ("zswap_max", path, random.choice([0, 1, 3, 1 << 20])),
        ("zswap_writeback", path, random.random() < 0.8),
        ("remove", path) if random.random() < 0.2 else ("exit", path),
        ("compressor", random.choice(["lz4", "lzo-rle", "deflate"])),
        ("zswap", random.choice([0, 1, 20])),
        ("shrinker", random.random() < 0.5),
        ("swapoff",),
    ]
    return random.choice(often if random.random() < 0.6 else seldom)


class Model:
    """A machine, and in a dictionary what its pages ought to hold.

    Args:
        machine: on which to act.

    Attributes:
        contents: bytes by cgroup and key; a write that failed leaves either of two.
        live: cgroups by path. Those removed stay as long as their process.
        orphans: processes whose cgroup is gone.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.contents: dict[Cgroup, dict[int, bytes]] = {}
        self.live: dict[str, Cgroup] = {}
        self.orphans: list[Cgroup] = []

    def cgroup(self, path: str) -> Cgroup:
        """Make a cgroup and those above, unless they are there."""
        above = path.rpartition("/")[0]
        if above:
            self.cgroup(above)
        if path not in self.live:
            self.live[path] = self.machine.cgroup(path)
            self.contents[self.live[path]] = {}
        return self.live[path]

    def act(self, action: Action) -> None:
        """Do something, and check what comes of it."""
        getattr(self, action[0])(*action[1:])

    def attempt(self, action: Action) -> None:
        """`act`; it may fail for want of memory where a limit leaves none."""
        try:
            self.act(action)
        except MemoryError:
            assert self.is_full()
        self.machine.validate()

    def write(self, path: str, key: int, page: int) -> None:
        cgroup = self.cgroup(path)
        cgroup.write(key, PAGES[page])
        self.contents[cgroup][key] = PAGES[page]

    def read(self, path: str, key: int) -> None:
        cgroup = self.cgroup(path)
        self.check(cgroup, key)

    def check(self, cgroup: Cgroup, key: int) -> None:
        assert cgroup.read(key) == self.contents[cgroup].get(key, bytes(4096))

    def fill(self, path: str, page: int) -> None:
        for key in range(KEYS):
            self.write(path, key, (page + key) % len(PAGES))

    def swap_out(self, path: str, key: int) -> None:
        self.cgroup(path).swap_out(key)

    def swap_out_all(self, path: str) -> None:
        for key in range(KEYS):
            self.swap_out(path, key)

    def discard(self, path: str, key: int) -> None:
        cgroup = self.cgroup(path)
        cgroup.discard(key)
        self.contents[cgroup].pop(key, None)

    def fork(self, path: str, child: str, first: int) -> None:
        """Have the pages from `first` on be another process's, copied on write."""
        source, copy = self.cgroup(path), self.cgroup(child)
        if source is copy:
            return
        for key in range(first, KEYS):
            self.discard(child, key)
            if key in self.contents[source]:
                self.contents[copy][key] = self.contents[source][key]
        source.fork(copy, [(key, key) for key in range(first, KEYS)])

    def reclaim(self, path: str, pages: int) -> None:
        assert self.cgroup(path).reclaim(pages * 4096) >= 0

    def limit(self, path: str, pages: int) -> None:
        self.cgroup(path).limit(memory_max=pages * 4096)

    def zswap_max(self, path: str, pages: int) -> None:
        self.cgroup(path).limit(zswap_max=pages * 4096)

    def zswap_writeback(self, path: str, enabled: bool) -> None:
        self.cgroup(path).limit(zswap_writeback=enabled)

    def remove(self, path: str) -> None:
        cgroup = self.cgroup(path)
        if any(other.startswith(f"{path}/") for other in self.live):
            with pytest.raises(OSError, match="busy") as refused:
                cgroup.remove()
            assert refused.value.errno == EBUSY
        else:
            cgroup.remove()
            self.orphans.append(self.live.pop(path))

    def exit(self, path: str) -> None:
        cgroup = self.cgroup(path)
        cgroup.exit()
        self.contents[cgroup] = {}

    def compressor(self, name: str) -> None:
        self.machine.set_compressor(name)

    def zswap(self, percent: int) -> None:
        self.machine.zswap.enabled = bool(percent)
        self.machine.zswap.max_pool_percent = percent

    def shrinker(self, enabled: bool) -> None:
        self.machine.zswap.shrinker_enabled = enabled

    def swapoff(self) -> None:
        self.machine.swapoff()
        self.machine.validate()
        self.machine.swapon(512)

    def is_full(self) -> bool:
        """Whether there is a cgroup in which what zswap holds leaves no room for a page."""
        counters = [cgroup.memcg.memory for cgroup in self.live.values()]
        return any(counter.usage.read() >= counter.max.read() for counter in counters)

    def check_all(self) -> None:
        """Read everything; without limits, once zswap leaves no room within them."""
        for cgroup, pages in self.contents.items():
            for key in range(KEYS):
                try:
                    self.check(cgroup, key)
                except MemoryError:
                    assert self.is_full()
                    for each in self.live.values():
                        each.limit(memory_max=1 << 40)
                    self.check(cgroup, key)
            assert set(cgroup.mm.ptes) <= set(pages)
