"""What cannot be explored is refused, by name and line, and never called sound."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from swaplab.explore import Holds, Program, ProgramError, Violated, explore
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared


class System(Shared):
    """A number."""

    v: int

    def __init__(self) -> None:
        self.v = 0


def write(system: System) -> None:
    WRITE_ONCE(system).v = 1


def refused(match: str, *tasks: Any, setup: Any = System, **names: Any) -> None:
    with pytest.raises(ProgramError, match=match):
        explore(Program("mine", setup, {f"CPU{n}": task for n, task in enumerate(tasks)}, **names))


def generate(system: System) -> Iterator[None]:
    write(system)
    yield


async def wait(system: System) -> None:
    write(system)


def start(system: System) -> None:
    thread = threading.Thread(target=write, args=(system,))
    thread.start()
    thread.join()


def caught(function: Callable[..., object], *args: object) -> Callable[[System], None]:
    def run(system: System) -> None:
        write(system)
        with suppress(Exception):
            function(*args)

    return run


def vanish() -> None:
    os._exit(0)


def ending(error: type[BaseException]) -> Callable[..., None]:
    def run(*_: object) -> None:
        raise error("mine")

    return run


def test_tasks_that_would_not_be_run() -> None:
    refused("mine: expected at least one task, found none")
    refused("expected of task CPU1 a function that takes the system, found 7", write, 7)
    refused("CPU0 a function that does it all .* a generator", generate)
    refused("CPU0 a function that does it all .* a coroutine", wait)
    refused("CPU0 returns a generator", lambda system: generate(system), write)  # noqa: PLW0108
    refused("CPU1 returns a map", write, lambda system: map(write, [system]))


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, BaseException, ValueError])
def test_what_ends_a_program(error: type[BaseException]) -> None:
    match = rf"mine: {error.__name__} in the program itself: mine \(.*test_refused.py, line \d+, in run\)"
    refused(match, write, ending(error))
    refused(match, write, write, setup=ending(error))
    refused(match, write, invariants={"never": ending(error)})


def test_an_interrupt_is_passed_on() -> None:
    with pytest.raises(KeyboardInterrupt):
        explore(Program("mine", System, {"CPU0": ending(KeyboardInterrupt)}))


@pytest.mark.parametrize("task", [lambda system: os._exit(0), caught(vanish)])
def test_the_process_does_not_end(task: Any) -> None:
    refused(r"mine: the program ends the process by os._exit.*test_refused.py, line", write, task)


def test_nothing_runs_beside_the_tasks() -> None:
    refused(r"mine: the program starts a thread.*in start\)", write, start)
    refused(r"mine: the program starts a thread.*in start\)", write, setup=lambda: start(System()))
    refused(r"mine: the program forks.*test_refused.py, line", write, lambda system: os.fork())


def test_threads_and_exits_are_free_again() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    assert os._exit.__module__ == "posix"


def test_assertions_have_to_be_there() -> None:
    code = "from tests.explore.test_refused import *; explore(Program('mine', System, {'CPU0': write}))"
    ran = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert "ProgramError: python -O leaves out the assertions" in ran.stderr


OUTSIDE = System()


def test_objects_that_outlive_an_execution() -> None:
    refused(
        r"OUTSIDE, a System, was made outside setup and tasks.*make it in setup", write, lambda system: write(OUTSIDE)
    )


def test_what_tasks_have_returned() -> None:
    def read(system: System) -> int:
        return READ_ONCE(system).v

    def program(check: Callable[..., bool]) -> Program[System]:
        return Program("told", System, {"reader": read, "writer": write}, {"the reader is first": check})

    seen: list[dict[str, object]] = []

    def look(_: System, told: dict[str, object]) -> bool:
        seen.append(dict(told))
        return True

    for check in (look, lambda _, told, limit=1: told["reader"] < limit):
        verdict = explore(program(check))
    assert isinstance(verdict, Violated)
    assert [each.sentence for each in verdict.violations] == ["the reader is first"]
    assert {each["reader"] for each in seen} == {0, 1}
    assert {each["writer"] for each in seen} == {None}
    assert isinstance(explore(program(lambda _, limit=2: limit == 2)), Holds)
