"""``swaplab check``: every interleaving of a program."""

from __future__ import annotations

import builtins
import os
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console

from swaplab.cli.common import Flag, check_output, steps
from swaplab.errors import InputError
from swaplab.explore import Schedule, Violation
from swaplab.files import write_whole
from swaplab.races.cases import Judgement, cases, judge_all
from swaplab.races.cases import replay as run_again
from swaplab.races.museum import exhibits
from swaplab.report.check import judgement, museum, museum_summary, table
from swaplab.report.diagram import WIDTH, diagram

__all__ = ["check"]


class ScheduleFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A schedule, and where its program is found."""

    target: str
    schedule: Schedule


def check(
    *targets: str,
    all: Flag = False,
    only: Annotated[str, Parameter(show_default=False)] = "",
    replay: Annotated[Path | None, Parameter(name="--replay")] = None,
    executions: Annotated[int | None, Parameter(name="--executions")] = None,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    jobs: Annotated[int | None, Parameter(alias="-j")] = None,
    json: Flag = False,
) -> None:
    """Run every interleaving of programs on shared objects, and say what breaks, or that nothing does.

    Example: `swaplab check offline`

    The status is 1 if something breaks that must not, or holds that must not.

    Parameters
    ----------
    targets
        `offline` (zswap's LRU against the offlining of a cgroup), exhibits of the museum, or Python files with a
        `swaplab.Program` in a variable. Files are run.
    all
        The whole museum of published races.
    only
        Of the targets' programs, those with this in their names.
    replay
        Run a schedule again that -o wrote, and show it.
    executions
        Give up after so many executions of a program. The verdict then is no proof, and says so.
    output
        Write the schedule of the first violation.
    jobs
        Processes to use; as many as there are processors if not given. They explore several programs at once, or share
        one. The verdicts do not depend on it.
    json
        Print verdicts as JSON.
    """
    check_output(output)
    if replay:
        _replay(replay, json)
        return
    if all and targets:
        raise InputError("targets", "none beside --all", " ".join(targets))
    wanted = [*targets, *(exhibit.name for exhibit in exhibits() if all)]
    if not wanted:
        raise InputError("targets", "at least one, or --all, or --replay", "none")
    if executions is not None and executions < 1:
        raise InputError("--executions", "at least 1", executions)
    chosen = [(target, n) for target in wanted for n, case in enumerate(cases(target)) if only in case.label]
    if not chosen:
        raise InputError("--only", "a part of a program's name", only)
    with steps("check", len(chosen)) as step:
        judged = judge_all(chosen, executions, jobs or os.cpu_count() or 1, step)
    if output:
        _write(output, judged)
    _show(judged, json, all)
    if not _all_as_expected(judged):
        raise SystemExit(1)


def _all_as_expected(judged: list[Judgement]) -> bool:
    """Tell whether nothing broke that must not, and everything that must."""
    is_broken = any(each.holds is None and isinstance(each.verdict, Violation) for each in judged)
    return not is_broken and builtins.all(each.as_expected for each in judged)


def _show(judged: list[Judgement], json: bool, is_museum: bool) -> None:
    if json:
        print(msgspec.json.encode(judged).decode())  # noqa: T201
        return
    console = Console(highlight=False, markup=False, emoji=False)
    if is_museum:
        console.print(museum(judged))
        console.print(f"\n{museum_summary(judged)}")
        return
    for each in judged:
        print(judgement(each, _width()), end="\n\n")  # noqa: T201
    if len(judged) > 1:
        console.print(table(judged, "Verdicts"))


def _width() -> int:
    """Return how wide a terminal is; what goes elsewhere is to be posted."""
    console = Console()
    return console.width if console.is_terminal else WIDTH


def _write(path: Path, judged: list[Judgement]) -> None:
    found = next((each for each in judged if isinstance(each.verdict, Violation)), None)
    if found is None or not isinstance(found.verdict, Violation):
        raise InputError("-o", "a violation, whose schedule it is to hold", "none")
    with write_whole(path) as partial:
        partial.write_bytes(msgspec.json.encode(ScheduleFile(found.target, found.verdict.schedule)))


def _replay(path: Path, json: bool) -> None:
    try:
        loaded = msgspec.json.decode(path.read_bytes(), type=ScheduleFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(path, "a schedule that swaplab check -o wrote", error) from None
    case, recording = run_again(loaded.target, loaded.schedule)
    kind, sentence = (recording.bugs[0].title, str(recording.bugs[0])) if recording.bugs else ("", "")
    steps = recording.steps(recording.bugs[0] if recording.bugs else None)
    if json:
        print(msgspec.json.encode({"kind": kind, "sentence": sentence, "steps": steps}).decode())  # noqa: T201
    else:
        print(diagram(steps, kind or "nothing", sentence or "this execution breaks nothing", _width()))  # noqa: T201
    if recording.bugs and case.holds is not False:
        raise SystemExit(1)
