"""What the guest is to do, as the commands of ``runner.c``: settings, cgroups, processes, accesses, events, samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from swaplab.errors import UnsupportedError
from swaplab.linux.page import PAGE_SIZE
from swaplab.linux.sched import TICK_NS
from swaplab.result.counters import DEBUGFS
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.model import LIMIT_FILES, Cgroup, Event, Scenario
from swaplab.scenario.timeline import timeline
from swaplab.scenario.tree import LEAF, leaves, parent_of, parents, pre_order
from swaplab.vm.files import disk_of
from swaplab.vm.memory import MIB, disk_size, min_free_kbytes

__all__ = ["Watched", "refuse", "script_for", "watched_files"]

ROOT = "/sys/fs/cgroup"
TRACE = "/trace"
# Loading null_blk makes a nullb0, which is left alone. Linux 6.1 numbers its devices, later ones name them as their
# directory in configfs.
SWAP, FILE_DISK = "nullb1", "nullb2"
CONFIG = "/sys/kernel/config"
MOUNTED = "/files"
# mm/page_alloc.c:boost_watermark: it would keep some of the other node's memory from being taken.
BOOST, BOOST_DEFAULT = "/proc/sys/vm/watermark_boost_factor", 15000
ZSWAP = "/sys/module/zswap/parameters"
ZSWAP_COUNTERS = "/sys/kernel/debug/zswap"
# Offlining takes two grace periods of RCU and two work queues, and tells nobody when it is done.
OFFLINE_US = 200_000
FILES = ("memory.stat", "memory.current", "memory.swap.current", "memory.events", "memory.swap.events")
GOLDEN = (5**0.5 - 1) / 2
Command = tuple[object, ...]
Homes = Mapping[str, str]


class Watched(NamedTuple):
    """A file that is part of every sample.

    Attributes:
        cgroup: whose it is; empty for the machine's.
        name: of the counters in it.
        path: in the guest.
    """

    cgroup: str
    name: str
    path: str


def refuse(scenario: Scenario) -> None:
    """Raise UnsupportedError for what a guest cannot be, by the scenario's keys, and for what no kernel has."""
    where = scenario.source
    if scenario.unreleased:
        raise UnsupportedError(f"{where}: no kernel has {', '.join(scenario.unreleased)}")
    if scenario.swap.device == "zram":
        raise UnsupportedError(f'{where}: swap.device: the guest swaps to a disk, not to "zram"')
    if scenario.zswap.enabled and scenario.zswap.lru == "global":
        raise UnsupportedError(f'{where}: zswap.lru: Linux 6.12 has only "memcg", found "global"')
    if scenario.machine.nodes != 1:
        raise UnsupportedError(f"{where}: machine.nodes: the guest has one NUMA node, found {scenario.machine.nodes}")


def _directory(path: str) -> str:
    return f"{ROOT}/{path}" if path else ROOT


def _home(homes: Homes, path: str) -> str:
    return _directory(homes.get(path, path))


def watched_files(scenario: Scenario) -> list[Watched]:
    """The files of every sample, in their order."""
    machine = [
        Watched("", "memory.stat", f"{ROOT}/memory.stat"),
        Watched("", "vmstat", "/proc/vmstat"),
        Watched("", "meminfo", "/proc/meminfo"),
        Watched("", "zoneinfo", "/proc/zoneinfo"),
    ]
    machine += [Watched("", name, f"{ZSWAP_COUNTERS}/{name}") for name in DEBUGFS]
    cgroups = pre_order(scenario.cgroups)[1:]
    return machine + [Watched(path, name, f"{_directory(path)}/{name}") for path in cgroups for name in FILES]


def script_for(scenario: Scenario, accesses: Accesses, modules: Iterable[str], pool_percent: int, seed: int = 0) -> str:
    """Return the whole script.

    Args:
        modules: names of files in the guest's ``/modules``, in the order in which they load.
        pool_percent: zswap's max_pool_percent in this guest.
        seed: by which part of a tick the first access is later: all seeds are spread over one.
    """
    homes = leaves(scenario)
    commands = [
        *(("module", f"/modules/{name}") for name in modules),
        ("port",),
        ("trace", TRACE),
        *_other_node(scenario, accesses),
        *_machine(scenario),
        *_zswap(scenario, pool_percent),
        *_cgroups(scenario, homes),
        *_processes(scenario, accesses, homes),
        *(("watch", each.path) for each in watched_files(scenario)),
        ("write", "/proc/sys/vm/drop_caches", 3),
        ("settle", scenario.machine.memory),
        ("sample",),
        *([("sleep", round(seed * GOLDEN % 1 * TICK_NS / 1000))] if seed else []),
        *_run(scenario, accesses, homes),
        ("check",),
        ("done",),
    ]
    return "".join("\t".join(map(str, command)) + "\n" for command in commands)


def _other_node(scenario: Scenario, accesses: Accesses) -> Iterator[Command]:
    """Fill it with the disks, and what is left of it."""
    yield "write", BOOST, 0
    yield from _disk(scenario)
    yield from _file_disk(scenario, accesses)
    yield ("occupy",)
    yield "write", BOOST, BOOST_DEFAULT


def _disk(scenario: Scenario) -> Iterator[Command]:
    size = scenario.swap.size
    if size:
        yield from _null_blk(scenario, SWAP, disk_size(size), size + PAGE_SIZE)
        yield "swapon", f"/dev/{SWAP}"


def _file_disk(scenario: Scenario, accesses: Accesses) -> Iterator[Command]:
    """Another such disk, with the files on it (`files.c`)."""
    if disk := disk_of(scenario, accesses):
        size = disk.blocks * PAGE_SIZE
        yield from _null_blk(scenario, FILE_DISK, disk_size(size), size)
        yield "mkdir", MOUNTED
        yield "mount", "ext4", MOUNTED


def _null_blk(scenario: Scenario, name: str, size: int, filled: int) -> Iterator[Command]:
    """A disk in memory that takes its time (drivers/block/null_blk): the same for a read and a write, however many."""
    device = scenario.swap.device
    assert device != "zram"  # noqa: S101 - refuse() has seen to it
    settings = {
        "size": size // MIB,
        "blocksize": PAGE_SIZE,
        "memory_backed": 1,
        "irqmode": 2,  # a timer
        "completion_nsec": device.read_latency_ns + PAGE_SIZE * 10**9 // device.read_bandwidth + device.seek_ns,
    }
    yield "mount", "configfs", CONFIG
    yield "mkdir", f"{CONFIG}/nullb/{name}"
    yield from (("write", f"{CONFIG}/nullb/{name}/{key}", value) for key, value in settings.items())
    yield "write", f"{CONFIG}/nullb/{name}/power", 1
    yield "fill", f"/dev/{name}", filled
    yield "write", f"/sys/block/{name}/queue/rotational", int(device.rotational)


def _machine(scenario: Scenario) -> Iterator[Command]:
    machine = scenario.machine
    mglru = machine.lru == "mglru"
    yield _setting("machine.lru", "/sys/kernel/mm/lru_gen/enabled", "y" if mglru else "n", without="n")
    yield "try", "/sys/kernel/mm/transparent_hugepage/enabled", "never"
    yield "try", "/sys/kernel/mm/ksm/run", 0
    yield "write", "/proc/sys/vm/swappiness", machine.swappiness
    yield "write", "/proc/sys/vm/page-cluster", machine.page_cluster
    yield "write", "/proc/sys/vm/overcommit_memory", 1
    yield "watermarks", min_free_kbytes(machine.memory)


def _zswap(scenario: Scenario, pool_percent: int) -> Iterator[Command]:
    zswap = scenario.zswap
    if not zswap.enabled:
        yield "try", f"{ZSWAP}/enabled", "N"
        return
    yield "write", f"{ZSWAP}/compressor", zswap.compressor
    yield "try", f"{ZSWAP}/zpool", "zsmalloc"
    yield "write", f"{ZSWAP}/max_pool_percent", pool_percent
    yield "write", f"{ZSWAP}/accept_threshold_percent", zswap.accept_threshold_percent
    shrinks = "Y" if zswap.shrinker_enabled else "N"
    yield _setting("zswap.shrinker_enabled", f"{ZSWAP}/shrinker_enabled", shrinks, without="N")
    yield "write", f"{ZSWAP}/enabled", "Y"


def _cgroups(scenario: Scenario, homes: Homes) -> Iterator[Command]:
    yield "write", f"{ROOT}/cgroup.subtree_control", "+memory"
    # The root may have processes beside children; this one is for the runner's helper.
    yield "mkdir", f"{ROOT}/{LEAF}"
    have_children = parents(scenario.cgroups)
    for path in pre_order(scenario.cgroups):
        if path:
            yield "mkdir", _directory(path)
        if path in have_children:
            yield "write", f"{_directory(path)}/cgroup.subtree_control", "+memory"
        limits = scenario.cgroups.get(path, Cgroup())
        for field in LIMIT_FILES:
            if getattr(limits, field) != getattr(Cgroup(), field):
                yield _limit(path, field, getattr(limits, field))
    for leaf in homes.values():
        yield "mkdir", _directory(leaf)


def _setting(key: str, path: str, text: object, without: object) -> Command:
    """Write a setting to a file; `without` is what kernels do that have no such file."""
    return ("try", path, text) if text == without else ("set", path, text, key)


def _limit(path: str, field: str, value: int | bool | None) -> Command:
    file = LIMIT_FILES[field]
    text, without = ("max" if each is None else int(each) for each in (value, getattr(Cgroup(), field)))
    return _setting(f'cgroup."{path}".{file}', f"{_directory(path)}/{file}", text, without)


def _processes(scenario: Scenario, accesses: Accesses, homes: Homes) -> Iterator[Command]:
    yield ("contents",)
    yield "flusher", f"{ROOT}/{LEAF}"
    yield "tasks", len(accesses.task_workload)
    for task, (first, end) in enumerate(pairwise(accesses.task_first.tolist())):
        if accesses.task_shared[task]:
            yield "memory", first, end - first
        else:
            cgroup = scenario.workloads[accesses.task_workload[task]].cgroup
            yield "process", first, end - first, _home(homes, cgroup)
    # Of a recording with many processes few are there at a time.
    tasks_of = np.bincount(accesses.task_workload)
    yield from (("start", task) for task in np.flatnonzero(tasks_of[accesses.task_workload] == 1))


def _run(scenario: Scenario, accesses: Accesses, homes: Homes) -> Iterator[Command]:
    processes = np.flatnonzero(~accesses.task_shared).tolist()
    owners = {task: scenario.workloads[accesses.task_workload[task]].cgroup for task in processes}
    position = 0
    for stop in timeline(scenario, accesses.total):
        if stop.at > position:
            yield "access", stop.at - position
        position = stop.at
        for event in stop.events:
            yield from _event(event, owners, homes)
        if stop.is_sampled:
            yield ("sample",)


def _event(event: Event, owners: dict[int, str], homes: Homes) -> Iterator[Command]:
    """Let an event happen; `owners`, the cgroup of each process, follow it."""
    path = event.cgroup
    for field, value in event.set.items():
        yield _limit(path, field, value)
    if event.reclaim is not None:
        yield "try", f"{_directory(path)}/memory.reclaim", event.reclaim
    own = [task for task, owner in owners.items() if owner == path]
    if event.exit:
        yield from (("exit", i) for i in own)
    if event.remove:
        parent = parent_of(path)
        for i in own:
            owners[i] = parent
            yield "move", i, _home(homes, parent)
        if path in homes:
            yield "rmdir", _directory(homes[path])
        yield "rmdir", _directory(path)
        yield "sleep", OFFLINE_US
