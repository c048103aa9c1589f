"""``swaplab check``: every interleaving of a program."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from textwrap import fill
from typing import Annotated

import msgspec
from cyclopts import Parameter

from swaplab.cli.common import (
    Flag,
    Html,
    Output,
    check_apart,
    check_html,
    check_output,
    conclude,
    console,
    printing_beside,
    report_beside,
    say,
    say_json,
    show,
    steps,
    tell,
)
from swaplab.errors import InputError
from swaplab.explore import Bounded, ProgramError, Step, Violated
from swaplab.files import write_whole
from swaplab.process import apart
from swaplab.races.cases import How, Judged, Judgement, cases, fingerprint, judge_all
from swaplab.races.museum import exhibits
from swaplab.races.schedules import encode, load
from swaplab.races.schedules import replay as run_again
from swaplab.report.check import check_report, judgement, memory_order_summary, museum, museum_summary, table
from swaplab.report.diagram import WIDTH, diagram, diagram_of
from swaplab.report.page import write_page
from swaplab.report.parts import Heading

__all__ = ["check"]

JOBS_MAX = 1024
"""Processes that are begun at once."""


class _Shown(msgspec.Struct, frozen=True):
    """The outcome of a schedule that was run again."""

    label: str
    kind: str
    sentence: str
    steps: list[Step]


BROKEN = 1
BOUNDED = 3
"""Statuses: something is not as it has to be; nothing is known to be, but not everything was looked at."""


def check(
    *targets: str,
    all: Flag = False,
    only: Annotated[str, Parameter(show_default=False)] = "",
    replay: Annotated[Path | None, Parameter(name="--replay")] = None,
    executions: Annotated[int | None, Parameter(name="--executions")] = None,
    first: Flag = False,
    every_trace: Flag = False,
    output: Output = None,
    html: Html = None,
    jobs: Annotated[int | None, Parameter(alias="-j")] = None,
    json: Flag = False,
) -> None:
    """Run every interleaving of programs on shared objects, and say what breaks, or that nothing does.

    Example: `swaplab check offline`

    The status is 0 if every program holds or breaks as it should, 1 if something breaks that must not, or holds that
    must not, and 3 if nothing broke but not every interleaving was run.

    Parameters
    ----------
    targets
        `offline` (zswap's LRU against the offlining of a cgroup), `suspects` (protocols of Linux 7.2 that look as if
        they could break), exhibits of the museum, or Python files with `swaplab.Program`s in variables or in lists.
        Files are run.
    all
        The whole museum of published races.
    only
        Run only the programs with this text in their names.
    replay
        Run the schedules in a file of `-o` again, and show them.
    executions
        Give up after this number of executions of a program. The verdict then is no proof, and says so.
    first
        Stop at the first thing that breaks a program. Otherwise everything that can break is found, each with the
        fewest interruptions that it takes.
    every_trace
        Run every trace. By default, as long as nothing breaks, executions that tell the tasks the same and end in the
        same state count as one: this is as complete, in a fraction of the executions.
    output
        Write the schedules of everything that breaks.
    html
        Write the verdicts, and diagrams with the state after each step, as one HTML file that needs nothing else.
    jobs
        Processes to use; by default as many as there are processors. They explore several programs at once, or share
        one. The verdicts do not depend on it.
    json
        Print verdicts as JSON.
    """
    check_output(output)
    check_html(html)
    if all and targets:
        raise InputError("targets", "none beside --all", " ".join(targets))
    wanted = [*targets, *(exhibit.name for exhibit in exhibits() if all)]
    if not wanted:
        raise InputError("targets", "at least one, or --all", "none")
    check_apart([*map(Path, wanted), *([replay] if replay else [])], output, html)
    if replay:
        _apart(lambda: _replay(replay, wanted, only, html, json))
        return
    if jobs is not None and not 1 <= jobs <= JOBS_MAX:
        raise InputError("-j", f"1 to {JOBS_MAX}", jobs)
    if executions is not None and executions < 1:
        raise InputError("--executions", "at least 1", executions)
    how = How(executions, first, every_trace)
    _apart(lambda: _check(wanted, only, how, jobs or os.cpu_count() or 1, output, html, json, all))


def _apart(work: Callable[[], None]) -> None:
    """Do what runs programs of the user's in another process: whatever they do to that, there is a verdict or none.

    Raises:
        ProgramError: that process was ended before all was said.
        SystemExit: with the status of the work.
    """
    try:
        status = apart(lambda: conclude(work))
    except ChildProcessError as error:
        what = f"the process that explores was {error}, before all was said: by a program, or from outside"
        raise ProgramError(what) from None
    if status:
        raise SystemExit(status)


def _check(
    targets: list[str],
    only: str,
    how: How,
    jobs: int,
    output: Path | None,
    html: Path | None,
    json: bool,
    is_museum: bool,
) -> None:
    with printing_beside():
        judged, mistakes = _judged(targets, only, how, jobs)
    if judged or not mistakes:
        with report_beside(output):
            _show(judged, json, is_museum)
    if output:
        _write(output, judged)
    if html:
        write_page(html, f"Every interleaving: {', '.join(targets)}", check_report(judged))
    for mistake in mistakes[:-1]:
        tell(f"swaplab: {mistake}")
    if mistakes:
        raise mistakes[-1]
    if status := _status(judged):
        raise SystemExit(status)


def _judged(targets: list[str], only: str, how: How, jobs: int) -> Judged:
    chosen = [(target, n) for target in targets for n, case in enumerate(cases(target)) if only in case.label]
    if not chosen:
        raise InputError("--only", "a part of a program's name", only)
    with steps("check", len(chosen)) as step:
        return judge_all(chosen, how, jobs, step, step.say)


def _status(judged: list[Judgement]) -> int:
    """Return whether nothing broke that must not, everything that must, and whether that is known."""
    verdicts = [each.verdict for each in judged]
    is_broken = any(each.holds is None and isinstance(each.verdict, Violated) for each in judged)
    is_wrong = any(not each.as_expected and not isinstance(each.verdict, Bounded) for each in judged)
    if is_broken or is_wrong:
        return BROKEN
    return BOUNDED if any(isinstance(verdict, Bounded) for verdict in verdicts) else 0


def _show(judged: list[Judgement], json: bool, is_museum: bool) -> None:
    if json:
        say_json(judged)
        return
    if is_museum:
        show([museum(judged), f"{museum_summary(judged)}\n{memory_order_summary(judged)}"])
        return
    for each in judged:
        say(judgement(each, _width()) + "\n")
    if len(judged) > 1:
        say(table(judged, _width()))
        if summary := memory_order_summary(judged):
            say(f"\n{summary}")


def _width() -> int:
    """Return how wide a terminal is; what goes elsewhere is to be posted."""
    shown_on = console()
    return shown_on.width if shown_on.is_terminal else WIDTH


def _write(path: Path, judged: list[Judgement]) -> None:
    with printing_beside():
        found = encode(judged)
    if not found:
        tell(f"swaplab: {path}: not written, since nothing broke")
        return
    with write_whole(path) as partial:
        partial.write_bytes(found)


def _replay(path: Path, targets: list[str], only: str, html: Path | None, json: bool) -> None:
    with printing_beside():
        schedules, prints = load(path), {target: fingerprint(target) for target in targets}
        runs = [run_again(path, each, prints) for each in schedules]
        chosen = [each for each in runs if only in each.case.label]
        if not chosen:
            raise InputError("--only", f"a part of the name of a program in {path}", only)
        found = [
            _Shown(
                label=each.case.label,
                kind=each.bug.title,
                sentence=str(each.bug),
                steps=each.recording.steps(each.bug),
            )
            for each in chosen
        ]
    drawn = [(each.label, diagram_of(each.steps, each.kind, each.sentence)) for each in found]
    if html:
        write_page(html, f"Run again: {path}", [part for label, each in drawn for part in (Heading(label), each)])
    if json:
        say_json(found)
    else:
        width = _width()
        for label, each in drawn:
            say(f"{fill(label, width)}\n\n{diagram(each, width)}\n")
    if any(each.case.holds is not False for each in chosen):
        raise SystemExit(BROKEN)
