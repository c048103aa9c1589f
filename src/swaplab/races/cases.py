"""What `swaplab check` runs: programs by target, and whether each has to hold or to break."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from hashlib import sha256
from multiprocessing import get_context, resource_tracker
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from swaplab import kernel, linux, races
from swaplab.errors import InputError
from swaplab.explore import Program, ProgramError, Verdict, Violated, explore
from swaplab.process import become_worker, holding_signals
from swaplab.races.exhibit import Exhibit
from swaplab.races.museum import exhibits, suspects
from swaplab.races.offline import matrix
from swaplab.races.program_file import programs_of, sources_of

__all__ = ["Case", "How", "Judged", "Judgement", "cases", "fingerprint", "judge", "judge_all"]

OFFLINE = "offline"
SUSPECTS = "suspects"
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
        every_trace: run every trace, even where observations would do.
    """

    executions_max: int | None = None
    first: bool = False
    every_trace: bool = False


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


class Judged(NamedTuple):
    """What was asked of several programs.

    Attributes:
        judgements: on those that could be explored.
        mistakes: what is wrong with the others.
    """

    judgements: list[Judgement]
    mistakes: list[ProgramError]


def cases(target: str) -> list[Case]:
    """Return the programs of a target: ``offline``, ``suspects``, an exhibit's or suspicion's name, or a Python file.

    Raises:
        InputError: there is no such target, or the file is wrong.
    """
    if target == OFFLINE:
        return [Case(cell.label, cell.program, cell.holds, group=cell.group) for cell in matrix()]
    if target == SUSPECTS:
        return [
            case._replace(label=f"{suspect.name}, {case.label}") for suspect in suspects() for case in _shown(suspect)
        ]
    for exhibit in exhibits() + suspects():
        if exhibit.name == target:
            return _shown(exhibit)
    if target.endswith(".py"):
        return [case for program in programs_of(Path(target)) for case in _with_control(program)]
    names = ", ".join(exhibit.name for exhibit in exhibits() + suspects())
    raise InputError("target", f"{OFFLINE}, {SUSPECTS}, a Python file, or one of {names}", target)


def _shown(exhibit: Exhibit) -> list[Case]:
    broken = [Case(f"broken: {label}", each, False, exhibit.finds) for label, each in exhibit.broken.items()]
    return broken + [Case(f"fixed: {label}", each, True) for label, each in exhibit.fixed.items()]


def _with_control(program: Program[Any]) -> list[Case]:
    if program.control is None:
        return [Case(program.name, program, None)]
    return [Case(program.name, program, True), Case(program.control.name, program.control, False)]


def fingerprint(target: str) -> str:
    """Return what tells a target's programs from others, and from what they were before they were changed.

    It is that of the bytes of the file and of what it imports from beside it, wherever that is; of what comes with
    swaplab, that of races and kernel, and of the facts of Linux below them.

    Raises:
        InputError: there is no such file, or it is wrong.
    """
    if target.endswith(".py"):
        sources = sources_of(Path(target))
    else:
        folders = [Path(folder) for package in (races, kernel, linux) for folder in package.__path__]
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
    try:
        verdict = explore(
            case.program,
            every_trace=how.every_trace,
            first=how.first,
            executions_max=how.executions_max,
            processes=processes,
            progress=progress,
        )
    except ProgramError as error:
        raise ProgramError(f"{target}: {error}") from error
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
) -> Judged:
    """Explore programs, given by target and number, several at once, or one by all; up to a limit, if there is one.

    `step` is called after each, and `say` is told what is being done, as far as that is known.
    """
    found: list[Judgement | ProgramError] = []
    if workers == 1 or len(wanted) == 1:
        for target, index in wanted:
            found.append(_tried(target, index, how, workers, say))
            step()
    else:
        with _pool(workers) as pool:
            with holding_signals():
                futures = [pool.submit(_tried, target, index, how) for target, index in wanted]
            for future in futures:
                future.add_done_callback(lambda _: step())
            found += [_result(future, *which, how) for future, which in zip(futures, wanted, strict=True)]
    return Judged(
        [each for each in found if isinstance(each, Judgement)],
        [each for each in found if isinstance(each, ProgramError)],
    )


def _pool(workers: int) -> ProcessPoolExecutor:
    with holding_signals():
        resource_tracker.ensure_running()  # or it would be the one to end on SIGHUP
    return ProcessPoolExecutor(workers, get_context("spawn"), become_worker, (os.getpid(),))


def _tried(
    target: str, index: int, how: How, processes: int = 1, say: Callable[[str], None] = lambda what: None
) -> Judgement | ProgramError:
    """Explore a program; if it cannot be, return what is wrong with it, so that others still are."""
    try:
        return judge(target, index, how, processes, say)
    except ProgramError as error:
        return error


def _result(future: Future[Judgement | ProgramError], target: str, index: int, how: How) -> Judgement | ProgramError:
    """Return what came of a program; if a process was ended, which ends all of a pool, by exploring it alone."""
    try:
        return future.result()
    except BrokenProcessPool:
        pass
    with _pool(1) as pool:
        try:
            with holding_signals():
                future = pool.submit(_tried, target, index, how)
            return future.result()
        except BrokenProcessPool:
            label = cases(target)[index].label
            return ProgramError(f"{label}: the process that explored it was ended, by the program or from outside")
