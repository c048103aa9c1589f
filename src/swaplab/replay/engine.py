"""A replay from end to end: feed the accesses, fire the events, sample the counters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from swaplab.compress.jit import is_kept
from swaplab.errors import InputError
from swaplab.linux.page import PAGE_SIZE
from swaplab.linux.release import Release, features_of
from swaplab.policy import Policy
from swaplab.replay.build import CompressedContents, build, compressed_contents, pages_of, parts_of, tree_of
from swaplab.replay.cgroup import css_offline, memory_high_write, memory_max_write, memory_reclaim
from swaplab.replay.fork import copy_page_range
from swaplab.replay.memory import run
from swaplab.replay.reference import variant_of
from swaplab.replay.samples import Samples
from swaplab.replay.shmem import mmap_shared, shmem_truncate_range
from swaplab.replay.state import CLOCK_MAX
from swaplab.replay.stats import read_stats
from swaplab.replay.unmap import exit_mmap, is_gone, madvise_dontneed, munmap
from swaplab.result import Result, RunInfo
from swaplab.scenario.accesses import Accesses, Chunk
from swaplab.scenario.cost import DEFAULT_COST, Cost
from swaplab.scenario.model import Event, Scenario
from swaplab.scenario.timeline import timeline
from swaplab.scenario.trace import EventKind
from swaplab.scenario.tree import leaves, parent_of

__all__ = ["Prepared", "Replay", "is_compiled", "replay"]

Progress = Callable[[int, int], None]


def is_compiled(scenario: Scenario) -> bool:
    """Whether a replay of a scenario will start at once; compiling it takes about half a minute."""
    return is_kept(run, variant_of(features_of(scenario.machine.kernel), parts_of(scenario)))


class Prepared(NamedTuple):
    """The parts of a scenario that take time to make. Replays that differ in other things may share them."""

    accesses: Accesses
    contents: CompressedContents


def _prepare(scenario: Scenario) -> Prepared:
    """Open its traces, make its pages' contents and compress them.

    Raises:
        InputError: a trace or a content is broken.
    """
    accesses = Accesses(scenario)
    return Prepared(accesses, compressed_contents(scenario, accesses))


class Replay:
    """One run, step by step.

    Args:
        prepared: what was made for a scenario with the same accesses and contents.
        policy: asked where Linux decides by itself.

    Attributes:
        scenario: the one that is run.
        cost: of its clock.
        accesses: the order of its accesses.
        machine: the state, as `swaplab.replay.state` describes it.
        position: accesses made so far.
        policy: as it was given.

    Raises:
        UnsupportedError: the scenario asks for something the replay does not model.
        InputError: a trace or a content is broken; or the policy is.
    """

    def __init__(
        self,
        scenario: Scenario,
        cost: Cost = DEFAULT_COST,
        prepared: Prepared | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.scenario = scenario
        self.cost = cost
        self.policy = policy
        self.accesses, contents = prepared or _prepare(scenario)
        self.machine = build(scenario, self.accesses, cost, contents)
        self.position = 0
        self._order = tree_of(scenario)
        self._number = {path: i for i, path in enumerate(self._order)}
        self._leaves = leaves(scenario)
        if policy:
            # Only policies ask how old an entry is.
            self.machine = replace(self.machine, stored_at=np.zeros(len(self.machine.pte), np.int64))
            policy.put_into(self.machine, {path: self._home(path) for path in self._order})
        hidden = {*self._leaves.values()}
        self._shown = [i for i, path in enumerate(self._order) if path not in hidden]
        self._samples = Samples(self.machine, self._shown, scenario.samples, Release.parse(scenario.machine.kernel))

    def access(self, chunk: Chunk) -> None:
        """Make some accesses, and do what happens between them.

        Raises:
            InputError: a policy has raised, or said what it may not; or the clock has run out.
        """
        begin = 0
        for at, operation, *where in chunk.ops.tolist():
            if at > begin:
                run(self.machine, chunk.accesses[begin:at])
            self.apply(operation, *where)
            begin = at
        run(self.machine, chunk.accesses[begin:])
        self.position += len(chunk.accesses)
        self._check_policy()
        if self.machine.task.clock >= CLOCK_MAX:
            where = f"{self.scenario.source}: swap.device and the costs"
            raise InputError(
                where, "what keeps the clock below 146 years", f"all of that after {self.position} accesses"
            )

    def apply(self, operation: int, page: int, pages: int, other: int = 0) -> None:
        """Have memory of a task change, from `page` on.

        Nothing changes for a task that was killed.

        Args:
            operation: an `EventKind` from UNMAP to REMOVE.
            other: first page of what is forked or mapped.

        Raises:
            ValueError: it is none of these.
        """
        m = self.machine
        task = int(np.searchsorted(m.task_first, page, "right")) - 1
        if is_gone(m, task):
            return
        if operation == EventKind.UNMAP:
            munmap(m, page, page + pages)
        elif operation == EventKind.DISCARD:
            madvise_dontneed(m, page, page + pages)
        elif operation == EventKind.EXIT:
            exit_mmap(m, task)
        elif operation == EventKind.FORK:
            copy_page_range(m, page, page + pages, other)
        elif operation == EventKind.SHARE:
            mmap_shared(m, page, page + pages, other)
        elif operation == EventKind.REMOVE:
            shmem_truncate_range(m, page, page + pages)
        else:
            raise ValueError(f"no operation on memory: {operation}")

    def _check_policy(self) -> None:
        if self.policy:
            self.policy.check(self.machine)

    def fire(self, event: Event) -> None:
        """Let an event happen.

        Raises:
            InputError: a policy has raised, or said what it may not.
        """
        m, memcg = self.machine, self._number[event.cgroup]
        for field, value in event.set.items():
            self._write_limit(memcg, field, value)
        if event.reclaim is not None:
            memory_reclaim(m, memcg, event.reclaim // PAGE_SIZE, int(event.source == "zswap"))
        if event.exit:
            for task in np.flatnonzero(m.task_memcg == self._home(event.cgroup)):
                exit_mmap(m, int(task))
        if event.remove:
            self._remove(event.cgroup)
        self._check_policy()

    def _home(self, path: str) -> int:
        """Number of the cgroup that a cgroup's processes live in."""
        return self._number[self._leaves.get(path, path)]

    def _remove(self, path: str) -> None:
        """Remove a cgroup, and before that the leaf of its processes, which go to the parent."""
        home = self._home(parent_of(path))
        for each in dict.fromkeys((self._home(path), self._number[path])):
            css_offline(self.machine, each, home)

    def _write_limit(self, memcg: int, field: str, value: int | bool | None) -> None:
        m = self.machine
        if field == "memory_zswap_writeback":
            m.memcgs[memcg].writeback = bool(value)
        elif field == "memory_max":
            memory_max_write(m, memcg, pages_of(value))
        elif field == "memory_high":
            memory_high_write(m, memcg, pages_of(value))
        elif field == "memory_swap_max":
            m.memcgs[memcg].swap_max = pages_of(value)
            m.memory.swap_limits = 1
        elif field == "memory_zswap_max":
            m.memcgs[memcg].zswap_max = pages_of(value)
        else:
            raise ValueError(f"no limit of a cgroup: {field}")

    def sample(self) -> None:
        """Read all counters now."""
        read_stats(self.machine)
        self._samples.add(self.position)

    def result(self, configuration: str = "") -> Result:
        """The samples so far."""
        info = RunInfo(
            engine="replay",
            release=self.scenario.machine.kernel,
            scenario=self.scenario,
            configuration=configuration,
            accesses=self.position,
            workload_accesses=self.accesses.by_workload(),
            reconstructed=self.accesses.reconstructed(),
            own_times=self.accesses.own_times(),
            cost=self.cost,
            policy=self.policy.name if self.policy else None,
        )
        return Result(info, self._samples.table([self._order[i] for i in self._shown]))


def replay(
    scenario: Scenario,
    cost: Cost = DEFAULT_COST,
    configuration: str = "",
    progress: Progress = lambda done, total: None,
    prepared: Prepared | None = None,
    policy: Policy | None = None,
) -> Result:
    """Run a scenario to its end.

    Args:
        cost: of the virtual clock.
        configuration: a name for what was varied, for reports.
        progress: called with accesses done and in all, now and then.
        prepared: what was made for a scenario with the same accesses and contents.
        policy: asked where Linux decides by itself.

    Raises:
        UnsupportedError: the scenario asks for something the replay does not model.
        InputError: a trace or a content is broken; or the policy is.
    """
    run_ = Replay(scenario, cost, prepared, policy)
    total = run_.accesses.total
    chunks, rest = run_.accesses.chunks(), Chunk(np.empty(0, np.uint32))
    for stop in timeline(scenario, total):
        while run_.position < stop.at:
            if not len(rest.accesses):
                rest = next(chunks)
            piece, rest = rest.split(stop.at - run_.position)
            run_.access(piece)
            progress(run_.position, total)
        for event in stop.events:
            run_.fire(event)
        if stop.is_sampled:
            run_.sample()
    return run_.result(configuration)
