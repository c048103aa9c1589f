"""Running the variants of a plan: on all processors, and never again what is known already."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Protocol

import msgspec

import swaplab
from swaplab.cache import read_cached, write_cached
from swaplab.errors import SwaplabError
from swaplab.process import become_worker, holding_signals
from swaplab.replay import replay
from swaplab.result import Result
from swaplab.scenario.cost import Cost
from swaplab.study.plan import Variant
from swaplab.study.share import Shared, versions
from swaplab.study.table import Summary, outcome_of

__all__ = ["Map", "Summarise", "Task", "code", "in_order", "processes", "processors"]

AHEAD: Final = 4
"""Variants that wait for each process, so that none waits for its next one, and the rest of a plan for no memory."""

_shared = Shared()
Task = Callable[[Variant], Summary]
Map = Callable[[Task, Iterable[Variant]], Iterator[Summary]]
"""Applies a function to the variants of a plan, which it takes as they are needed; yields what it returns, in order."""


# One variant ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Summarise:
    """A task: replay a variant, unless that was done before with the same files, costs and code.

    Attributes:
        cost: what things cost on the clock.
    """

    cost: Cost

    def __call__(self, variant: Variant) -> Summary:
        """Return what it comes to.

        Raises:
            UnsupportedError: the scenario asks for something the replay does not model.
            InputError: a trace or a content is broken.
            OSError: one of them cannot be read.
        """
        name = self._name(variant)
        found = _read(name)
        if found is None:
            scenario = variant.scenario
            found = _summary(replay(scenario, self.cost, prepared=_shared.prepared(scenario)))
            _write(name, found)
        return found

    def known(self, variant: Variant) -> Summary | None:
        """Return what was kept of a variant, if anything was."""
        return _read(self._name(variant))

    def keep(self, variant: Variant, summary: Summary) -> None:
        """Keep what a variant came to, for this run and others."""
        _write(self._name(variant), summary)

    def _name(self, variant: Variant) -> str:
        digest = hashlib.sha256(code())
        digest.update(repr((variant.scenario, self.cost)).encode(errors="surrogateescape"))
        digest.update(repr(versions(variant.scenario)).encode(errors="surrogateescape"))
        return f"study/{digest.hexdigest()}"


def _read(name: str) -> Summary | None:
    data = read_cached(name)
    return None if data is None else msgspec.json.decode(data, type=Summary)


def _write(name: str, summary: Summary) -> None:
    write_cached(name, msgspec.json.encode(summary))


def _summary(result: Result) -> Summary:
    finals = {
        path: {name: value for name, value in result.final(path).items() if name != "cgroup"} for path in result.cgroups
    }
    return Summary(outcome_of(result), finals)


@cache
def code() -> bytes:
    """Hash of all source of swaplab: any of it may change a number."""
    files = sorted(Path(swaplab.__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).digest()


# Many -----------------------------------------------------------------------------------------------------------------


class Promise(Protocol):
    """A summary that is being computed."""

    def result(self) -> Summary:
        """Wait for it."""
        ...


def in_order(start: Callable[[Variant], Promise], variants: Iterable[Variant], ahead: int) -> Iterator[Summary]:
    """Start variants, so many ahead of the one that is waited for; yield what they come to, in their order."""
    waiting: deque[Promise] = deque()
    for variant in variants:
        waiting.append(start(variant))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def processes(count: int) -> Iterator[Map]:
    """Yield what runs variants on so many processes, in this one if it is one; the others end with it.

    Raises:
        SwaplabError: when a map is iterated, if a process was killed.
    """
    if count == 1:
        yield map
        return
    forked = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(count, forked, become_worker, (os.getpid(),)) as pool:

        def mapped(task: Task, variants: Iterable[Variant]) -> Iterator[Summary]:
            def start(variant: Variant) -> Promise:
                with holding_signals():
                    return pool.submit(task, variant)

            return in_order(start, variants, AHEAD * count)

        try:
            yield mapped
        except BrokenProcessPool:
            raise SwaplabError("a process that ran variants was killed; run it again, what is done is kept") from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
