"""What `swaplab check` runs: programs by target, and whether each has to hold or to break."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from swaplab import kernel, races
from swaplab.errors import InputError
from swaplab.explore import EveryObservation, Program, ProgramError, Verdict, Violated, explore
from swaplab.process import die_with_parent
from swaplab.races.museum import exhibits
from swaplab.races.offline import matrix
from swaplab.races.program_file import programs_of, sources_of

__all__ = ["Case", "How", "Judgement", "cases", "fingerprint", "judge", "judge_all"]

OFFLINE = "offline"
SAID = 100
"""Executions after which it is said how many there were."""


class Case(NamedTuple):
    """A program with what is expected of it.

    Attributes:
        label: what it is called among those of its target.
        program: to run.
        holds: whether nothing must break; None if that is what is asked.
        finds: titles of bugs that may break it; any if empty.
        group: what its label begins with, and those of others that are shown together.
    """

    label: str
    program: Program[Any]
    holds: bool | None
    finds: frozenset[str] = frozenset()
    group: str = ""


class How(NamedTuple):
    """How programs are explored.

    Attributes:
        executions_max: give a program up after so many; None for all that there are.
        first: stop at the first thing that breaks it.
        every_observation: run every observation, not every trace.
    """

    executions_max: int | None = None
    first: bool = False
    every_observation: bool = False


class Judgement(msgspec.Struct, frozen=True):
    """A verdict on a case.

    Attributes:
        target: what was asked for.
        label: which of its programs.
        holds: whether it was expected to; None if nothing was expected.
        as_expected: whether the verdict is that.
        group: what its label begins with, and those of others that are shown together.
        verdict: of the explorer.
        seconds: it took, measured.
    """

    target: str
    label: str
    holds: bool | None
    as_expected: bool
    group: str
    verdict: Verdict
    seconds: float


def cases(target: str) -> list[Case]:
    """Return the programs of a target: ``offline``, the name of an exhibit, or a Python file.

    Raises:
        InputError: there is no such target, or the file is wrong.
    """
    if target == OFFLINE:
        return [Case(cell.label, cell.program, cell.holds, group=cell.group) for cell in matrix()]
    for exhibit in exhibits():
        if exhibit.name == target:
            broken = [Case(f"broken: {label}", each, False, exhibit.finds) for label, each in exhibit.broken.items()]
            return broken + [Case(f"fixed: {label}", each, True) for label, each in exhibit.fixed.items()]
    if target.endswith(".py"):
        return [case for program in programs_of(Path(target)) for case in _with_control(program)]
    raise InputError("target", f"{OFFLINE}, a Python file, or one of {', '.join(e.name for e in exhibits())}", target)


def _with_control(program: Program[Any]) -> list[Case]:
    if program.control is None:
        return [Case(program.name, program, None)]
    return [Case(program.name, program, True), Case(program.control.name, program.control, False)]


def fingerprint(target: str) -> str:
    """Return what tells a target's programs from others, and from what they were before they were changed.

    It is that of the bytes of the file and of what it imports from beside it, wherever that is; of what comes with
    swaplab, that of races and kernel.

    Raises:
        InputError: there is no such file, or it is wrong.
    """
    if target.endswith(".py"):
        sources = sources_of(Path(target))
    else:
        folders = [Path(folder) for package in (races, kernel) for folder in package.__path__]
        sources = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    found = sha256()
    for path in sources:
        found.update(sha256(path.read_bytes()).digest())
    return found.hexdigest()


def judge(
    target: str,
    index: int,
    how: How,
    processes: int = 1,
    say: Callable[[str], None] = lambda what: None,
) -> Judgement:
    """Explore one program of a target; `say` is told now and then how far it is."""
    case = cases(target)[index]

    def progress(executions: int) -> None:
        if executions % SAID == 0:
            say(f"{case.label}: {executions:,} executions")

    say(case.label)
    before = time.perf_counter()
    verdict = explore(
        case.program,
        EveryObservation() if how.every_observation else None,
        first=how.first,
        executions_max=how.executions_max,
        processes=processes,
        progress=progress,
    )
    seconds = time.perf_counter() - before
    return Judgement(target, case.label, case.holds, _is_expected(case, verdict), case.group, verdict, seconds)


def _is_expected(case: Case, verdict: Verdict) -> bool:
    if isinstance(verdict, Violated):
        return not case.holds and (not case.finds or any(each.kind in case.finds for each in verdict.violations))
    return case.holds is not False


def judge_all(
    wanted: Sequence[tuple[str, int]],
    how: How,
    workers: int,
    step: Callable[[], None],
    say: Callable[[str], None],
) -> list[Judgement]:
    """Explore programs, given by target and number, several at once, or one by all; up to a limit, if there is one.

    `step` is called after each, and `say` is told what is being done, as far as that is known.
    """
    if workers == 1 or len(wanted) == 1:
        found = []
        for target, index in wanted:
            found.append(judge(target, index, how, workers, say))
            step()
        return found
    with ProcessPoolExecutor(workers, get_context("spawn"), die_with_parent, (os.getpid(),)) as pool:
        futures = [pool.submit(judge, target, index, how) for target, index in wanted]
        for future in futures:
            future.add_done_callback(lambda _: step())
        try:
            return [future.result() for future in futures]
        except BrokenProcessPool:
            names = ", ".join(
                cases(target)[index].label
                for (target, index), future in zip(wanted, futures, strict=True)
                if isinstance(future.exception(), BrokenProcessPool)
            )
            raise ProgramError(
                f"a process that explores was ended by one of these programs, or killed: {names}"
            ) from None
