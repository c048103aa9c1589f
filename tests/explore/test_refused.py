"""What cannot be explored is refused, by name and line, and never called sound."""

from __future__ import annotations

import _thread
import atexit
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import get_ident
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


def link(system: System) -> None:
    ctypes.CDLL(None).getpid()


def touch(system: System) -> None:
    Path(__file__).touch()


def spawn(system: System) -> None:
    from multiprocessing import get_context

    get_context("spawn").Process(target=vanish).start()


LEAVING: dict[str, tuple[Callable[[Any], object], str]] = {
    "_exit": (lambda _: os._exit(0), "ends the process by os._exit"),
    "abort": (lambda _: os.abort(), "ends the process by os.abort"),
    "exec": (lambda _: os.execv("/bin/true", ["true"]), "replaces the process by os.exec"),  # noqa: S606
    "fork": (lambda _: os.fork(), "forks"),
    "forkpty": (lambda _: os.forkpty(), "forks"),
    "posix_spawn": (lambda _: os.posix_spawn("/bin/true", ["true"], {}), "starts a process by os.posix_spawn"),
    "spawn": (spawn, "starts a process by _posixsubprocess.fork_exec|uses files"),
    "run": (lambda _: subprocess.run(["true"], check=False), "starts a process by subprocess.Popen"),  # noqa: S607
    "system": (lambda _: os.system("true"), "starts a process by os.system"),  # noqa: S605, S607
    "kill": (lambda _: os.kill(os.getpid(), 9), "uses signals, by os.kill"),
    "killpg": (lambda _: os.killpg(0, 9), "uses signals, by os.killpg"),
    "raise_signal": (lambda _: signal.raise_signal(9), "uses signals, by signal.raise_signal"),
    "pthread_kill": (lambda _: signal.pthread_kill(get_ident(), 9), "uses signals, by signal.pthread_kill"),
    "signal": (lambda _: signal.signal(signal.SIGTERM, signal.SIG_IGN), "uses signals, by signal.signal"),
    "alarm": (lambda _: signal.alarm(1), "uses signals, by signal.alarm"),
    "atexit": (lambda _: atexit.register(vanish), "leaves something to do for the end of the process"),
    "thread": (start, "starts a thread"),
    "bare thread": (lambda _: _thread.start_new_thread(vanish, ()), "starts a thread"),
    "C": (link, "calls C by ctypes"),
    "socket": (lambda _: socket.socket(), "uses what others change, by socket"),
    "read": (lambda _: Path(__file__).read_bytes(), "uses files, by open"),
    "open": (lambda _: os.open(__file__, os.O_RDONLY), "uses files, by open"),
    "touch": (touch, "uses files, by os.utime"),
    "list": (lambda _: [*Path().iterdir()], "uses files, by os."),
    "environment": (lambda _: os.putenv("swaplab", "1"), "changes the environment, by os.putenv"),
}


@pytest.mark.parametrize("way", LEAVING)
def test_nothing_leaves_an_execution(way: str) -> None:
    leave, sentence = LEAVING[way]
    match = rf"mine: the program ({sentence}).*test_refused.py, line"
    refused(match, write, leave)
    refused(match, write, write, setup=lambda: leave(System()))
    refused(match, write, write, invariants={"never": leave})


def test_what_is_refused_stays_refused() -> None:
    refused(r"mine: the program ends the process by os._exit.*test_refused.py, line", write, caught(vanish))


def test_modules_may_be_imported_by_tasks() -> None:
    sys.modules.pop("wave", None)

    def task(system: System) -> None:
        import wave  # noqa: F401

        write(system)

    assert explore(Program("mine", System, {"CPU0": task, "CPU1": write})).complete


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
