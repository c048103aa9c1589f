"""The answers of ``swaplab check`` for people."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from textwrap import wrap

from rich.box import SIMPLE_HEAD
from rich.table import Table

from swaplab.explore import SMALL_PRINT, Bounded, Violation
from swaplab.races.cases import Judgement
from swaplab.report.diagram import WIDTH, diagram

__all__ = ["judgement", "museum", "museum_summary", "outcome", "table"]

REORDERED_MAX = 8


def outcome(judged: Judgement) -> str:
    """The verdict in a few words."""
    verdict = judged.verdict
    if isinstance(verdict, Violation):
        return f"VIOLATED: {verdict.kind}"
    return f"bounded: {verdict.limit}" if isinstance(verdict, Bounded) else "holds, complete"


def table(judged: Sequence[Judgement], title: str) -> Table:
    """One line per program."""
    found = _table(title, ["check", "verdict", "executions", "time"])
    found.columns[1].justify = "left"
    for each in judged:
        note = "" if each.as_expected else "  (not what was expected)"
        executions, time = f"{each.verdict.effort.executions:,}", f"{each.seconds:.2f} s"
        found.add_row(each.label, outcome(each) + note, executions, time)
    return found


def museum(judged: Sequence[Judgement]) -> Table:
    """One line per race: found in its broken forms, held in its fixed ones, in how many executions."""
    found = _table("Published races", ["race", "found", "runs", "held", "runs", "time"])
    for target, group in groupby(judged, key=lambda each: each.target):
        row, seconds = [target], 0.0
        forms = list(group)
        for should_hold in (False, True):
            some = [each for each in forms if each.holds is should_hold]
            right = sum(each.as_expected for each in some)
            row += [f"{right}/{len(some)}", f"{sum(each.verdict.effort.executions for each in some):,}"]
            seconds += sum(each.seconds for each in some)
        found.add_row(*row, f"{seconds:.2f} s")
    return found


def museum_summary(judged: Sequence[Judgement]) -> str:
    """What the table says, in a sentence."""
    races = {each.target for each in judged}
    wrong = {each.target for each in judged if not each.as_expected}
    bounded = sum(isinstance(each.verdict, Bounded) for each in judged)
    note = f"; bounded, so no proof: {bounded}" if bounded else ""
    return f"{len(races) - len(wrong)} of {len(races)} races found where they are and held where they are mended{note}."


def _table(title: str, headings: Sequence[str]) -> Table:
    found = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    found.show_edge = found.pad_edge = False
    found.add_column(headings[0], overflow="fold")
    for heading in headings[1:]:
        found.add_column(heading, justify="right", no_wrap=True)
    return found


def judgement(judged: Judgement, width: int = WIDTH) -> str:
    """Everything about one verdict, in lines of that width."""
    verdict = judged.verdict
    effort = verdict.effort
    lines = [f"{judged.label}: {outcome(judged)} ({effort.executions:,} executions, {effort.steps:,} steps)"]
    if isinstance(verdict, Violation):
        fewest = "the fewest it takes" if verdict.fewest else "fewer may do; not all of them were tried"
        lines += ["", diagram(verdict.steps, verdict.kind, verdict.sentence, width), ""]
        lines += [f"Tasks interrupted that could have gone on: {verdict.preemptions} ({fewest})."]
    elif effort.reordered and not isinstance(verdict, Bounded):
        pairs = [f"  {pair.first}  <->  {pair.second}" for pair in effort.reordered[:REORDERED_MAX]]
        more = len(effort.reordered) - REORDERED_MAX
        lines += ["Run in both orders:", *pairs, *([f"  and {more} more pairs"] if more > 0 else [])]
    lines = [part for line in [*lines, SMALL_PRINT] for part in line.split("\n")]
    return "\n".join(part for line in lines for part in _wrapped(line, width))


def _wrapped(line: str, width: int) -> list[str]:
    return wrap(line, width, subsequent_indent="  ", break_on_hyphens=False) if len(line) > width else [line]
