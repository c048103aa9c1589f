"""The answers of ``swaplab check`` for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile, zip_longest
from textwrap import wrap

from swaplab.explore import (
    CARRIES_OVER,
    EVERY_TRACE,
    MAY_MATTER,
    SMALL_PRINT,
    Bounded,
    Holds,
    Reordering,
    Unsure,
    Verdict,
    Violated,
)
from swaplab.races.cases import Judgement
from swaplab.report.diagram import WIDTH, diagram, diagram_of
from swaplab.report.parts import Diagram, Heading, Part, Table, Verbatim

__all__ = ["check_report", "judgement", "memory_order_summary", "museum", "museum_summary", "table", "verdict_parts"]

REORDERED_MAX = 8
UNSURE_MAX = 8
HEADING = "check"
GAP = 2
MANY_SECONDS = 99.5
"""From which on fractions are not shown."""
VERDICT, NUMBERS = 26, 20
"""Widths of verdicts, and of executions and seconds."""


def _outcome(verdict: Verdict) -> str:
    """The verdict in a few words."""
    if isinstance(verdict, Violated):
        return f"VIOLATED: {', '.join(dict.fromkeys(each.kind for each in verdict.violations))}"
    return f"bounded: {verdict.limit}" if isinstance(verdict, Bounded) else "holds, complete"


def table(judged: Sequence[Judgement], width: int = WIDTH) -> str:
    """One line per program; those of a group have one heading, with what the labels of all of them say."""
    groups: dict[str, list[Judgement]] = {}
    for each in judged:
        groups.setdefault(each.group or each.label, []).append(each)
    rows: list[tuple[str, Judgement | None]] = []
    for group, members in groups.items():
        if len(members) == 1:
            rows.append((members[0].label, members[0]))
        else:
            heading, names = _folded(group, [each.label for each in members])
            rows += [(heading, None), *((f"  {name}", each) for name, each in zip(names, members, strict=True))]
    left = min(max(len(HEADING), *(len(text) for text, row in rows if row)), width - VERDICT - NUMBERS - GAP)
    middle = width - left - GAP - NUMBERS
    lines = [f"{HEADING:{left + GAP}}{'verdict':{middle}}{'executions    time':>{NUMBERS}}"]
    for text, row in rows:
        lines += _row(text, row, left, width) if row else wrap(text, width)
    return "\n".join([lines[0], "-" * width, *lines[1:]])


def _folded(group: str, labels: Sequence[str]) -> tuple[str, list[str]]:
    """Return a heading with what all labels of a group have in common, and what is left of each."""
    parts = [label.removeprefix(group).strip(", ").split(", ") for label in labels]
    common = [part for part in parts[0] if all(part in each for each in parts)]
    left = [[part for part in each if part not in common] for each in parts]
    kinds = []
    for column in range(min(map(len, left))):
        words = [each[column].split(" ") for each in left]
        shared = [first[0] for first in takewhile(lambda same: len(set(same)) == 1, zip(*words, strict=False))]
        if shared:
            kinds.append(" ".join(shared))
            for each, own in zip(left, words, strict=True):
                each[column] = " ".join(own[len(shared) :])
    heading = ", ".join([group, *common])
    return f"{heading}; {', '.join(kinds)}:" if kinds else heading, [", ".join(each) for each in left]


def _row(text: str, judged: Judgement, left: int, width: int) -> list[str]:
    """Return the lines of a program: what does not fit is wrapped in its column."""
    note = "" if judged.as_expected else " (not what was expected)"
    indent = len(text) - len(text.lstrip())
    names = wrap(text, left, subsequent_indent=" " * (indent + 2))
    middle = width - left - GAP - NUMBERS
    verdicts = wrap(_outcome(judged.verdict) + note, middle)
    time = f"{judged.seconds:.{2 if judged.seconds < MANY_SECONDS else 0}f}"
    numbers = f"{judged.verdict.effort.executions:>10,} {time:>5} s"
    return [
        f"{name:{left + GAP}}{verdict:{middle}}{number:>{NUMBERS}}".rstrip()
        for name, verdict, number in zip_longest(names, verdicts, [numbers], fillvalue="")
    ]


def museum(judged: Sequence[Judgement]) -> Table:
    """One line per race: found in its broken forms, held in its fixed ones, in how many executions."""
    found = Table("Published races", ["race", "found", "runs", "held", "runs", "time"])
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
    """Sum the table up in a sentence."""
    races = {each.target for each in judged}
    wrong = {each.target for each in judged if not each.as_expected}
    bounded = sum(isinstance(each.verdict, Bounded) for each in judged)
    note = f"; bounded, so no proof: {bounded}" if bounded else ""
    return f"{len(races) - len(wrong)} of {len(races)} races found where they are and held where they are mended{note}."


def check_report(judged: Sequence[Judgement]) -> list[Part]:
    """All verdicts: what they come to first, then everything about each."""
    found = Table("Programs", ["program", "verdict", "executions", "time"], texts=2)
    for each in judged:
        note = "" if each.as_expected else " (not what was expected)"
        executions = f"{each.verdict.effort.executions:,}"
        found.add_row(each.label, _outcome(each.verdict) + note, executions, f"{each.seconds:.2f} s")
    summary = [text for text in [memory_order_summary(judged)] if text]
    return [found, *summary, *(part for each in judged for part in verdict_parts(each.verdict, each.label))]


def judgement(judged: Judgement, width: int = WIDTH) -> str:
    """Everything about one verdict, in lines of that width."""
    return "\n".join(line for part in verdict_parts(judged.verdict, judged.label) for line in _lines(part, width))


def _lines(part: Part, width: int) -> list[str]:
    """A part of a judgement as it is posted."""
    if isinstance(part, Diagram):
        return ["", *diagram(part, width).split("\n"), ""]
    text = part.text if isinstance(part, Heading | Verbatim) else str(part)
    return [wrapped for line in text.split("\n") for wrapped in _wrapped(line, width)]


def verdict_parts(verdict: Verdict, label: str = "") -> Iterator[Part]:
    """Yield everything about one verdict, with the name of the program where it has one."""
    effort = verdict.effort
    runs = f"{_counted(effort.executions, 'execution')}, {_counted(effort.steps, 'step')}"
    yield Heading(f"{label}{': ' if label else ''}{_outcome(verdict)} ({runs})")
    if isinstance(verdict, Holds) or effort.search != EVERY_TRACE:
        yield f"Run: {effort.search}."
    if isinstance(verdict, Violated):
        for each in verdict.violations:
            fewest = "the fewest it takes" if each.fewest else "fewer may do; not all of them were tried"
            yield diagram_of(each.steps, each.kind, each.sentence)
            yield f"Tasks interrupted that could have gone on: {each.preemptions} ({fewest})."
        if verdict.limit:
            yield f"More may break: not everything was run ({verdict.limit})."
    elif effort.reordered and not isinstance(verdict, Bounded):
        yield "Run in both orders:"
        yield _pairs(effort.reordered, REORDERED_MAX)
    if isinstance(verdict, Holds) and verdict.unsure:
        yield f"{SMALL_PRINT} {MAY_MATTER}"
        yield _pairs(verdict.unsure, UNSURE_MAX)
    else:
        yield CARRIES_OVER if isinstance(verdict, Holds) else SMALL_PRINT


def _pairs(pairs: Sequence[Reordering | Unsure], most: int) -> Verbatim:
    """A line for each of the first pairs."""
    lines = [f"  {pair.first}  <->  {pair.second}" for pair in pairs[:most]]
    more = len(pairs) - most
    return Verbatim("\n".join([*lines, *([f"  and {more} more pairs"] if more > 0 else [])]))


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def memory_order_summary(judged: Sequence[Judgement]) -> str:
    """How many verdicts carry over to Linux's memory order, in a sentence; nothing if none holds."""
    held = [each.verdict for each in judged if isinstance(each.verdict, Holds)]
    over = sum(not verdict.unsure for verdict in held)
    return f"{over} of {len(held)} that hold carry over to Linux's memory order." if held else ""


def _wrapped(line: str, width: int) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return wrap(line, width, subsequent_indent=indent, break_on_hyphens=False) if len(line) > width else [line]
