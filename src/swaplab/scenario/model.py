"""A scenario: which cgroups exist, how memory and zswap are configured, what the workloads touch.

The same thing as TOML (`swaplab.scenario.load`) and as these objects. Sizes are bytes; a limit of None is ``max``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from swaplab.errors import InputError
from swaplab.linux.crypto import Compressor
from swaplab.linux.release import MODELLED, Modelled
from swaplab.scenario.content import Content, Random
from swaplab.scenario.device import DEVICES, Device
from swaplab.scenario.patterns import Pattern, Uniform

__all__ = [
    "BASELINES",
    "LIMIT_FILES",
    "Baseline",
    "Cgroup",
    "Event",
    "Machine",
    "OwnTime",
    "Proposed",
    "Scenario",
    "Swap",
    "Workload",
    "Zswap",
    "on_release_of",
    "with_baseline",
    "with_release",
]

ACCESSES_MAX = 1 << 40  # of one workload; two days at the replay's best speed
GIB = 1 << 30

Baseline = Literal["off", "global-lru", "memcg", "shrinker", "no-writeback", "zram"]
Bytes = Annotated[int, Meta(ge=0, lt=1 << 62)]
Percent = Annotated[int, Meta(ge=0, le=100)]


class Machine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The machine.

    Attributes:
        memory: bytes that the workloads and the compressed pool share.
        kernel: the release of Linux that is modelled.
        lru: which reclaim runs.
        page_cluster: log2 of the pages that swap readahead reads (vm.page-cluster); 0, none, where Linux has 3.
        swappiness: vm.swappiness.
        cpus: processors; the workloads use one, and kswapd and zswap's worker another one, if there is.
        nodes: NUMA nodes.
        seed: what every random choice of the scenario derives from.
    """

    memory: Bytes = GIB
    kernel: Modelled = "6.12"
    lru: Literal["classic", "mglru"] = "classic"
    page_cluster: Annotated[int, Meta(ge=0, le=5)] = 0
    swappiness: Annotated[int, Meta(ge=0, le=200)] = 60
    cpus: Annotated[int, Meta(ge=1, le=8192)] = 2
    nodes: Annotated[int, Meta(ge=1, le=64)] = 1
    seed: Annotated[int, Meta(ge=0, lt=1 << 31)] = 0


class Zswap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """zswap's module parameters with the kernel's names and defaults (mm/Kconfig, mm/zswap.c, 6.12).

    Attributes:
        enabled: whether pages are stored.
        compressor: as the kernel's crypto API names it.
        max_pool_percent: of memory, where stores end.
        accept_threshold_percent: of that limit, where they begin again.
        shrinker_enabled: whether memory pressure writes cold entries back.
        lru: ``memcg``, or ``global`` for the one list of before Linux 6.8.
    """

    enabled: bool = False
    compressor: Compressor = "lzo"
    max_pool_percent: Percent = 20
    accept_threshold_percent: Percent = 90
    shrinker_enabled: bool = False
    lru: Literal["memcg", "global"] = "memcg"


class Proposed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was proposed on Linux's mailing list over 7.2, and is of no release; as Linux is, unless it is asked for.

    Attributes:
        shrink_batch: entries of a cgroup that zswap's worker, and memory.reclaim with ``source=zswap``, walk at once;
            Linux's worker walks one.
        cursor: whether memory.reclaim with ``source=zswap`` goes on with the cgroup after the one it ended with.
        drop_written: whether a folio that zswap wrote back is freed once it is written, not when reclaim meets it.
    """

    shrink_batch: Annotated[int, Meta(ge=1, le=4096)] = 1
    cursor: bool = False
    drop_written: bool = False


class Swap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The swap device.

    Attributes:
        size: bytes.
        device: what a read and a write cost, or ``zram``: compressed memory with nothing behind it.
    """

    size: Bytes = GIB
    device: Device | Literal["zram"] = DEVICES["nvme"]


class Cgroup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one cgroup, named as cgroup v2's files; None is ``max``.

    Attributes:
        memory_max: bytes; reclaim, then OOM.
        memory_high: bytes; reclaim, then throttling.
        memory_swap_max: bytes of swap.
        memory_zswap_max: compressed bytes.
        memory_zswap_writeback: whether zswap may write to the device.
    """

    memory_max: Bytes | None = None
    memory_high: Bytes | None = None
    memory_swap_max: Bytes | None = None
    memory_zswap_max: Bytes | None = None
    memory_zswap_writeback: bool = True


LIMIT_FILES = {
    "memory_max": "memory.max",
    "memory_high": "memory.high",
    "memory_swap_max": "memory.swap.max",
    "memory_zswap_max": "memory.zswap.max",
    "memory_zswap_writeback": "memory.zswap.writeback",
}
"""The file of a cgroup that each field of `Cgroup` is written to."""


class OwnTime(msgspec.Struct, frozen=True):
    """The processor time of a workload with all its memory.

    Attributes:
        ns: nanoseconds, of all its processes and threads.
        is_about: whether that is an estimate.
    """

    ns: int
    is_about: bool = False


class Workload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The accesses of one task: a pattern over `pages`, or streams of a trace.

    Attributes:
        name: for reports.
        cgroup: path of the cgroup it runs in; empty for the root.
        kind: of what the pages are: anonymous memory, or a file of its own, read through a descriptor.
        advice: what posix_fadvise says of that descriptor: ``random`` is no readahead.
        pages: of 4096 bytes; of a trace, the streams' own.
        accesses: how many; of a trace, all it has or the first so many.
        pattern: which page comes next.
        write_fraction: share of accesses that write; of a trace, its own.
        think: nanoseconds of a processor for each access with all its memory, of a pattern; None if that is not known.
        time: for all that was recorded, of a trace; None if that is not known.
        trace: Parquet file.
        streams: names of the trace's streams that belong to this workload; empty for all.
        content: what the pages hold.
    """

    name: str = ""
    cgroup: str = ""
    kind: Literal["anonymous", "file"] = "anonymous"
    advice: Literal["normal", "random"] = "normal"
    pages: Annotated[int, Meta(ge=1, lt=1 << 31)] | None = None
    accesses: Annotated[int, Meta(ge=1, le=ACCESSES_MAX)] | None = None
    pattern: Pattern = Uniform()
    write_fraction: Annotated[float, Meta(ge=0, le=1)] = 0.0
    think: Annotated[int, Meta(ge=1, lt=1 << 62)] | None = None
    time: OwnTime | None = None
    trace: str | None = None
    streams: tuple[str, ...] = ()
    content: Content = Random()


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that happens to a cgroup before access number `at` (0 is before the first).

    Attributes:
        at: place in the order of all accesses.
        cgroup: path.
        set: limits to write, by field name of `Cgroup`; bytes, None for ``max``, or a bool.
        reclaim: bytes to write to memory.reclaim.
        source: ``zswap`` to have these written back from zswap, which was proposed and is of no release; else empty.
        exit: the workloads that run in it exit; their memory is freed.
        remove: rmdir. Its workloads move to the parent, and what they had stays charged to the dead cgroup.
    """

    at: Annotated[int, Meta(ge=0)]
    cgroup: str
    set: dict[str, int | bool | None] = {}
    reclaim: Bytes | None = None
    source: Literal["", "zswap"] = ""
    exit: bool = False
    remove: bool = False


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it.

    Attributes:
        cgroups: by path (``a/b``); every parent is there. The root, ``""``, need not be, and has only
            memory.zswap.writeback.
        interleave: accesses each workload makes in its turn, or ``trace``: the order of the one trace they share.
        samples: how many times along the run counters are read.
        base: directory that file names are relative to.
        source: where this comes from, for errors: the file's name.
    """

    name: str = ""
    description: str = ""
    machine: Machine = Machine()
    zswap: Zswap = Zswap()
    swap: Swap = Swap()
    proposed: Proposed = Proposed()
    cgroups: dict[str, Cgroup] = {}
    workloads: tuple[Workload, ...]
    events: tuple[Event, ...] = ()
    interleave: Annotated[int, Meta(ge=1)] | Literal["trace"] = 1000
    samples: Annotated[int, Meta(ge=1, le=100_000)] = 100
    base: Path = Path()
    source: str = "scenario"

    @property
    def has_file_memory(self) -> bool:
        """Whether a workload uses the page cache."""
        return any(each.kind == "file" for each in self.workloads)

    @property
    def unreleased(self) -> list[str]:
        """What it asks for that is of no release of Linux, in words."""
        asked = msgspec.to_builtins(self.proposed)
        changed = [f"{key} = {str(asked[key]).lower()}" for key in asked if asked[key] != getattr(Proposed(), key)]
        return changed + ["memory.reclaim with source=zswap"] * any(each.source for each in self.events)

    def files(self) -> list[str]:
        """Paths that it reads, as it has them: relative to `base`."""
        traces = {each.trace for each in self.workloads if each.trace}
        return sorted(traces.union(*(each.content.files() for each in self.workloads)))


def on_release_of(scenario: Scenario, kernel: str) -> Scenario:
    """Return the same on the release that a kernel is of (``uname -r``, or part of it), if there is a model of that."""
    series = ".".join(kernel.split(".")[:2])
    modelled = [release for release in MODELLED if release == series]
    return with_release(scenario, modelled[0]) if modelled else scenario


def with_release(scenario: Scenario, release: Modelled) -> Scenario:
    """Return the same on a release of Linux."""
    return msgspec.structs.replace(scenario, machine=msgspec.structs.replace(scenario.machine, kernel=release))


BASELINES: dict[Baseline, str] = {
    "off": "no zswap: every swapped page goes to the device",
    "global-lru": "zswap with one LRU for all cgroups, as before Linux 6.8",
    "memcg": "zswap with an LRU per cgroup, no shrinker",
    "shrinker": "zswap with an LRU per cgroup and the dynamic shrinker",
    "no-writeback": "zswap that never writes to the device (memory.zswap.writeback=0)",
    "zram": "swap on zram: compressed memory with nothing behind it, charged to no cgroup",
}
"""Configurations that `with_baseline` makes, and what they are."""


def with_baseline(scenario: Scenario, baseline: Baseline) -> Scenario:
    """Return the same workloads and limits under another kind of compressed swap; all else stays.

    Raises:
        InputError: the scenario swaps to zram, and has no device that another kind could use.
    """
    if scenario.swap.device == "zram" and baseline != "zram":
        raise InputError(f"{scenario.source}: swap.device", f"a device for the baseline {baseline}", "zram")
    replace = msgspec.structs.replace
    if baseline == "off":
        return replace(scenario, zswap=replace(scenario.zswap, enabled=False))
    if baseline == "zram":
        zswap = replace(scenario.zswap, enabled=False)
        return replace(scenario, zswap=zswap, swap=replace(scenario.swap, device="zram"))
    zswap = replace(
        scenario.zswap,
        enabled=True,
        lru="global" if baseline == "global-lru" else "memcg",
        shrinker_enabled=baseline == "shrinker",
    )
    cgroups = scenario.cgroups
    if baseline == "no-writeback":
        cgroups = {
            path: replace(each, memory_zswap_writeback=False) for path, each in ({"": Cgroup()} | cgroups).items()
        }
    return replace(scenario, zswap=zswap, cgroups=cgroups)
