"""What never ends, without doing anything that is watched, is stopped and named."""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from swaplab.explore import Program, ProgramError, explore, watchdog
from swaplab.kernel.sync import WRITE_ONCE, Shared


class System(Shared):
    """A number."""

    v: int

    def __init__(self) -> None:
        self.v = 0


def write(system: System) -> None:
    WRITE_ONCE(system).v = 1


def spin(*_: object) -> None:
    while True:
        pass


def write_and_spin(system: System) -> None:
    write(system)
    spin()


def spin_and_catch(system: System) -> None:
    while True:
        with suppress(BaseException):
            write(system)
            spin()


@pytest.mark.parametrize(
    ("tasks", "names", "who"),
    [
        ((write, spin), {}, "CPU1"),
        ((write_and_spin, write), {}, "CPU0"),
        ((write, spin_and_catch), {}, "CPU1"),
        ((write, write), {"setup": spin}, "setup"),
        ((write, write), {"invariants": {"it ends": spin}}, 'the invariant "it ends"'),
    ],
)
def test_it_is_named(
    tasks: tuple[Callable[[System], object], ...], names: dict[str, Any], who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "SECONDS_MAX", 0.2)
    program = Program("mine", **{"setup": System, "tasks": {f"CPU{n}": task for n, task in enumerate(tasks)}, **names})
    with pytest.raises(ProgramError, match=rf"mine: {who} (computes for|goes on).*"):
        explore(program)


def sleep(system: System) -> None:
    write(system)
    time.sleep(10_000)


def wait_for_oneself(system: System) -> None:
    write(system)
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def wait_and_catch(system: System) -> None:
    write(system)
    while True:
        with suppress(BaseException):
            queue.SimpleQueue[int]().get()


@pytest.mark.parametrize("task", [sleep, wait_for_oneself, wait_and_catch])
def test_what_waits_outside(task: Callable[[System], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "SECONDS_MAX", 0.2)
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(ProgramError, match=rf"CPU1 (waits for something|goes on after its end).*in {task.__name__}\)"):
        explore(Program("mine", System, {"CPU0": write, "CPU1": task}))
    assert signal.getsignal(signal.SIGALRM) is before


def test_where_it_spins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "SECONDS_MAX", 0.2)
    with pytest.raises(ProgramError, match=r"relax\(\) \(.*test_endless.py, line \d+, in spin\)"):
        explore(Program("mine", System, {"CPU0": write, "CPU1": spin}))


def test_what_takes_long_in_all_but_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is each step that may take so long."""
    monkeypatch.setattr(watchdog, "SECONDS_MAX", 0.1)

    def compute(system: System) -> int:
        for _ in range(8):
            sum(range(1_000_000))
            write(system)
        return 1

    verdict = explore(Program("mine", System, {"CPU0": compute}))
    assert verdict.effort.executions == 1
