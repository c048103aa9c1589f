"""Running the variants of a plan: on all processors, and never again what is known already."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import msgspec

import swaplab
from swaplab.cache import cached_bytes
from swaplab.errors import SwaplabError
from swaplab.process import become_worker, starting_workers
from swaplab.replay import replay
from swaplab.result import Result
from swaplab.scenario.cost import Cost
from swaplab.scenario.model import Scenario
from swaplab.study.plan import Variant
from swaplab.study.share import Shared, versions
from swaplab.study.table import Summary, outcome_of

__all__ = ["Map", "Task", "processes", "processors", "summarise"]

_shared = Shared()
Task = Callable[[Variant], Summary]
Map = Callable[[Task, Sequence[Variant]], Iterator[Summary]]
"""Applies a function to the variants of a plan; yields what it returns, in their order."""


# One variant ----------------------------------------------------------------------------------------------------------


def summarise(variant: Variant, cost: Cost) -> Summary:
    """Replay a variant, unless that was done before with the same files, costs and code.

    Raises:
        UnsupportedError: the scenario asks for something the replay does not model.
        InputError: a trace or a content is broken.
        OSError: one of them cannot be read.
    """

    def measure() -> bytes:
        return msgspec.json.encode(
            _summary(replay(variant.scenario, cost, prepared=_shared.prepared(variant.scenario)))
        )

    return msgspec.json.decode(cached_bytes(f"study/{_key(variant.scenario, cost)}", measure), type=Summary)


def _summary(result: Result) -> Summary:
    finals = {
        path: {name: value for name, value in result.final(path).items() if name != "cgroup"} for path in result.cgroups
    }
    return Summary(outcome_of(result), finals)


@cache
def _code() -> bytes:
    """Hash of all source of swaplab: any of it may change a number."""
    files = sorted(Path(swaplab.__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).digest()


def _key(scenario: Scenario, cost: Cost) -> str:
    digest = hashlib.sha256(_code())
    digest.update(repr((scenario, cost)).encode(errors="surrogateescape"))
    digest.update(repr(versions(scenario)).encode(errors="surrogateescape"))
    return digest.hexdigest()


# Many -----------------------------------------------------------------------------------------------------------------


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

        def start(task: Task, variants: Sequence[Variant]) -> Iterator[Summary]:
            with starting_workers():
                return pool.map(task, variants)

        try:
            yield start
        except BrokenProcessPool:
            raise SwaplabError("a process that ran variants was killed; run it again, what is done is kept") from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
