"""One search by several processes: whoever is free runs what is below some state, and tells what it found missing.

The executions below a state differ from all others in how they begin, so they can be run apart. The branches of a state
have an order, and what begins with one of them does not begin with one before it: those are asleep there. What has to
be run at a state above the one it was given a process cannot run itself, and leaves to who gives the work out; that
knows which branch it belongs to. Only leaves of a wakeup tree are given out: they wake all that slept, so that nothing
can be missing below them that is not found there. So every trace is run once, by somebody, and as nothing that is said
of a search depends on the order, the verdict is the one that a single process gives. Traces have identities, so that
one that was run twice would be counted once. If something breaks, or the program is at fault, a single process says
how, from where the work was shared.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import dropwhile, takewhile
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from swaplab.explore.dpor import Branch, Node, OptimalSearch, Step, insert, still_asleep, without
from swaplab.explore.history import Accesses
from swaplab.explore.program import ProgramError
from swaplab.explore.runtime import Explorer
from swaplab.explore.task import NOTHING, Task
from swaplab.explore.watchdog import watchdog
from swaplab.process import become_worker, holding_signals

__all__ = ["ParallelSearch"]

ALONE = 100
"""Executions after which a search is worth sharing: most end before, or break something."""
TURN = 16
"""Executions after which a process looks whether another one waits for work."""
REPORT = 500
"""Executions after which it reports anyway."""

Path = tuple[int, ...]
"""How a state is reached: numbers of tasks, in turn."""


class Job(NamedTuple):
    """Run all that begins with certain steps.

    Attributes:
        nodes: the states on the way, each with the tasks that sleep there and the step to take.
    """

    nodes: list[Node]


class Report(NamedTuple):
    """What was done about a job.

    Attributes:
        traces, vain, reordered: as of a search, since the last report.
        unsure: as of an ordering, since then.
        wanted: sequences to be run at states on the way, by depth.
        nodes: states below the job's that are given up; all but the last have nothing to give.
        path: what the process keeps to itself: all that begins like this.
        is_over: whether there is nothing left of that.
        broke: whether something did, or the program is at fault.
    """

    traces: dict[int, int]
    vain: int
    reordered: set[tuple[str, str]]
    unsure: set[tuple[str, str]]
    wanted: list[tuple[int, list[Step]]]
    nodes: list[Node]
    path: Path
    is_over: bool
    broke: bool


class Helper(OptimalSearch):
    """Does jobs.

    Args:
        asked: whether a process waits for work.
        report: called with what was done.
    """

    def __init__(self, asked: Callable[[], bool], report: Callable[[Report], object]) -> None:
        super().__init__()
        self.asked = asked
        self.report = report
        self.unsure: set[tuple[str, str]] = set()
        self._begin_report()

    def _begin_report(self) -> None:
        self.traces = {}
        self.vain = 0
        self.reordered = set()
        self.wanted: list[tuple[int, list[Step]]] = []

    def do(self, explorer: Explorer, job: Job) -> None:
        """Run all of a job, less what is given up on the way."""
        self.unsure = explorer.history.ordering.unsure
        self.nodes, self.base, self.kept = job.nodes, len(job.nodes) - 1, 0
        self.is_first, is_left = True, True
        try:
            while is_left and not self.findings.shortest:
                is_left, _ = self.step(explorer, lambda: True)
                self.is_first = False
                if is_left and self.executions % TURN == 0 and (self.executions >= REPORT or self.asked()):
                    self._report(self._give_up(), is_over=False)
        except ProgramError:
            self._report([], is_over=True, broke=True)
        else:
            self._report([], is_over=True, broke=bool(self.findings.shortest))

    def _give_up(self) -> list[Node]:
        """Give up the other branches of the first state that has any, which have most below them."""
        first = self.base + 1
        last = next((depth for depth in range(first, len(self.nodes)) if self.nodes[depth].others), None)
        if last is None:
            return []
        given = [node.copy() for node in self.nodes[first : last + 1]]
        self.nodes[last].others.clear()
        self.base = last
        return given

    def _report(self, nodes: list[Node], is_over: bool, broke: bool = False) -> None:
        path = tuple(node.taken.task for node in self.nodes[: self.base + 1])
        done = (self.traces, self.vain, self.reordered, {*self.unsure})
        self.unsure.clear()
        self.report(Report(*done, self.wanted, nodes, path, is_over, broke))
        self._begin_report()

    def pick(self, explorer: Explorer) -> Task | None:
        """On the way to where the job begins, find out what sleeping tasks do: this was not known before."""
        depth = explorer.depth
        if self.is_first and depth <= self.base:
            node = self.nodes[depth]
            node.sleep = {task: explorer.accesses(explorer.tasks[task]) for task in node.sleep}
            if depth:
                node.sleep |= still_asleep(self.nodes[depth - 1].sleep, explorer.history.events[-1].accesses)
        return super().pick(explorer)

    def want(self, depth: int, sequence: list[Step]) -> bool:
        """Leave what is to be run elsewhere to the process that gives out jobs."""
        is_new = super().want(depth, sequence)
        if is_new and depth <= self.base:
            self.wanted.append((depth, sequence))
        return is_new


def help_out(explorer: Explorer, jobs: Connection) -> None:
    """Do jobs until there are no more. A None between them, which any process may get, says: one waits for work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that gives out the jobs is interrupted, and sees to it
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # it ends its children by these
    explorer.strategy = helper = Helper(lambda: jobs.poll() and jobs.recv() is None, jobs.send)
    try:
        while True:
            job = jobs.recv()
            if job:
                helper.do(explorer, job)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


class Given(NamedTuple):
    """A step that a process took or takes.

    Attributes:
        branch: that step.
        is_inner: whether what follows it is a place of its own, not left to the process that takes it.
    """

    branch: Branch
    is_inner: bool


@dataclass(slots=True)
class Place:
    """A state at which something may have to be run.

    Attributes:
        given: steps that were given out, by task, and before them those that slept when the state was met.
        left: steps still to be given out.
    """

    given: dict[int, Given] = field(default_factory=dict)
    left: list[Branch] = field(default_factory=list)

    def before(self, task: int) -> dict[int, Accesses]:
        """Return the tasks that sleep while one takes its step here; that one finds out what they would do."""
        earlier = takewhile(lambda each: each != task, self.given)
        return dict.fromkeys(earlier, NOTHING)

    def after(self, task: int) -> list[Given]:
        """Return what was given out after a task's step."""
        return [*dropwhile(lambda each: each.branch.task != task, self.given.values())][1:]


class Plan:
    """What is left to run, by state, and which process runs what."""

    def __init__(self) -> None:
        self.places: dict[Path, Place] = {}
        self.open: dict[Path, None] = {}

    def add(self, path: Path, node: Node, is_taken: bool) -> None:
        """Add a state; tell whether a process takes its step already."""
        steps = [Branch(task, accesses) for task, accesses in node.sleep.items()]
        left = node.others
        if is_taken:
            steps.append(node.taken)
        else:
            left.insert(0, node.taken)
        self.places[path] = Place({each.task: Given(each, is_inner=False) for each in steps}, left)
        self._note(path)

    def _note(self, path: Path) -> None:
        if self.places[path].left:
            self.open[path] = None
        else:
            self.open.pop(path, None)

    def job(self) -> tuple[Path, Job]:
        """Give out a leaf; return how it is reached, with its own step."""
        path = min(self.open, key=len)
        while True:
            place = self.places[path]
            branch = place.left.pop(0)
            place.given[branch.task] = Given(branch, is_inner=bool(branch.branches))
            self._note(path)
            path = (*path, branch.task)
            if not branch.branches:
                break
            self.places[path] = Place(left=branch.branches)
        nodes = []
        for depth, task in enumerate(path):
            place = self.places[path[:depth]]
            nodes.append(Node(place.before(task), place.given[task].branch, []))
        return path, Job(nodes)

    def enter(self, path: Path, report: Report) -> None:
        """Enter what was done about all that begins like `path`."""
        for depth, node in enumerate(report.nodes, len(path)):
            self.add(report.path[:depth], node, is_taken=True)
        for depth, sequence in report.wanted:
            self._want(path[:depth], self.places[path[:depth]].after(path[depth]), sequence)

    def _want(self, path: Path, given: list[Given], sequence: list[Step]) -> None:
        """Have a sequence run at a state, unless one of the steps given out there leads to it."""
        for branch, is_inner in given:
            rest = without(branch, sequence)
            if rest is not None:
                if is_inner and rest:
                    path = (*path, branch.task)
                    self._want(path, [*self.places[path].given.values()], rest)
                return
        insert(self.places[path].left, sequence)
        self._note(path)


class ParallelSearch(OptimalSearch):
    """The same search by several processes.

    Args:
        processes: how many.
        progress: called with the number of executions while others run them.
    """

    def __init__(self, processes: int, progress: Callable[[int], None]) -> None:
        super().__init__()
        self.processes = processes
        self.progress = progress

    def go_on(self, explorer: Explorer, visit: Callable[[], bool]) -> bool:
        """Begin alone, then share what is left."""
        goes_on = True

        def alone() -> bool:
            nonlocal goes_on
            goes_on = visit()
            return goes_on and (self.executions < ALONE or bool(self.findings.shortest))

        if super().go_on(explorer, alone) or not goes_on:
            return goes_on
        return not self.nodes or self._share(explorer) or super().go_on(explorer, visit)

    def _share(self, explorer: Explorer) -> bool:
        """Have others run what is left; return whether they did. If anything breaks, nothing has happened."""
        plan = Plan()
        path = tuple(node.taken.task for node in self.nodes)
        for depth, node in enumerate(node.copy() for node in self.nodes):
            plan.add(path[:depth], node, is_taken=depth < len(path) - 1)
        reports: list[Report] = []
        executions = self.executions
        try:
            with _helpers(explorer, self.processes) as helpers:
                for report in _do(plan, helpers):
                    if report.broke:
                        return False
                    reports.append(report)
                    executions += len(report.traces)
                    self.progress(executions)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return False  # a helper was killed
        for report in reports:
            self.vain += report.vain + len(self.traces.keys() & report.traces)
            self.traces |= report.traces
            self.reordered |= report.reordered
            explorer.history.ordering.unsure |= report.unsure
        return True


def _do(plan: Plan, free: list[Connection]) -> Iterator[Report]:
    """Give a plan out to free processes until there is nothing left of it; yield what they report."""
    busy: dict[Connection, Path] = {}
    asked: set[Connection] = set()
    while busy or plan.open:
        while free and plan.open:
            helper = free.pop()
            busy[helper], job = plan.job()
            helper.send(job)
        for helper in busy.keys() - asked if free else ():
            asked.add(helper)
            helper.send(None)
        ready = wait([*busy])
        for helper in [each for each in busy if each in ready]:
            report: Report = helper.recv()
            yield report
            plan.enter(busy[helper], report)
            busy[helper] = report.path
            asked.discard(helper)
            if report.is_over:
                del busy[helper]
                free.append(helper)


@contextmanager
def _helpers(explorer: Explorer, count: int) -> Iterator[list[Connection]]:
    """Start processes that do jobs; they end with the block.

    They are forked: a program is functions, which cannot be sent.
    """
    context = get_context("fork")
    with ExitStack() as stack:
        ours: list[Connection] = []
        for _ in range(count):
            mine, its = context.Pipe()
            ours.append(stack.enter_context(mine))
            process = context.Process(target=_begin, args=(explorer, its, [*ours], os.getpid()), daemon=True)
            with holding_signals():
                process.start()
            its.close()
            stack.callback(process.join)
            stack.callback(process.terminate)
        yield [*ours]


def _begin(explorer: Explorer, jobs: Connection, theirs: list[Connection], parent: int) -> None:
    become_worker(parent)
    for each in theirs:
        each.close()  # or it would not be told that the process which gives out the jobs is gone
    # Threads are not forked, so this process needs a watchdog of its own.
    with watchdog(explorer.progress, explorer.stop, explorer.abandon):
        help_out(explorer, jobs)
    os._exit(0)
