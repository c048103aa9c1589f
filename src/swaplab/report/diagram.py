"""The diagram that people post: a column per CPU, functions indented, time downwards, what broke at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from textwrap import wrap
from unicodedata import east_asian_width

from swaplab.explore import Step
from swaplab.report.parts import Diagram, Line

__all__ = ["FIXED", "WIDTH", "diagram", "diagram_of"]

WIDTH = 80
"""Of what is posted to mailing lists."""
INDENT = "  "
GAP = 2
FOLDED = 3
"""How often lines have to come in a row to be shown once."""
FOLD_MAX = 30
"""And how many they may be."""
WIDE = "\ue000"
"""Stands behind a character that a terminal shows in two columns, while there are widths to count."""
NOTHING = "(no task does anything that is watched)"
FIXED = "\u00a0"
"""A space at which no line is broken."""
LAST_FIRST = ("list_add", "list_move", "list_splice", "list_next", "atomic_add", "queue_work")
"""Operations whose arguments Linux has in another order: what is added before that to which it is added."""


@dataclass
class _Call:
    """A function that runs: how many of its operations are shown, and which functions in which there are such."""

    text: str
    operations: int = 0
    callees: set[int] = field(default_factory=set)
    is_shown: bool = False


def diagram_of(steps: Iterable[Step], kind: str, sentence: str) -> Diagram:
    """Return what a diagram of an execution shows.

    Operations that do not matter are left out, and functions in which there are only such. What a CPU has deferred
    stands in its column, under its name in brackets.

    Args:
        steps: of the execution.
        kind: of bug.
        sentence: what broke.
    """
    steps = list(steps)
    names = dict(sorted({step.column: step.cpu for step in steps}.items()))
    return Diagram(names, list(_folded(_rows(steps))), f"{kind}: {sentence}")


def diagram(found: Diagram, width: int = WIDTH) -> str:
    """Draw a diagram in lines that are no longer than `width`."""
    names = {column: _widened(name) for column, name in found.names.items()}
    rows = [row._replace(text=_widened(row.text)) for row in found.lines]
    lines = _columns(rows, names, width) if names else [NOTHING]
    said = wrap(_widened(f"=> {found.end}"), width, subsequent_indent="   ")
    return "\n".join([*lines, "", *said]).replace(WIDE, "")


def _widened(text: str) -> str:
    """Return a text that is as long as a terminal shows it wide."""
    if text.isascii():
        return text
    return "".join(each + WIDE if east_asian_width(each) in "WF" else each for each in text)


def _columns(rows: list[Line], names: dict[int, str], width: int) -> list[str]:
    """Set lines in columns, which are told apart by where they begin."""
    texts = {column: [name, *_texts(rows, column)] for column, name in names.items()}
    lefts = dict(zip(names, _lefts(list(texts.values()), width), strict=True))
    starts = [*lefts.values(), width + GAP]
    heads = [(lefts[column], name) for column, name in names.items()]
    lines = [_on_one_line(heads), _on_one_line([(left, "-" * len(name)) for left, name in heads])]
    for row in rows:
        left = lefts[row.column]
        following = starts[starts.index(left) + 1] - GAP
        most = max([following - left, *(min(_least(text), width - left) for text in texts[row.column])])
        lines += [" " * left + line for line in _wrapped(row, most)]
    return [line.replace(FIXED, " ").rstrip() for line in lines]


def _on_one_line(texts: list[tuple[int, str]]) -> str:
    line = ""
    for left, text in texts:
        line = line.ljust(left) + text
    return line


def _texts(rows: list[Line], column: int) -> list[str]:
    return [INDENT * row.depth + row.text for row in rows if row.column == column]


def _least(text: str) -> int:
    """Return how wide a column has to be for a text whose words are not broken."""
    indent = len(text) - len(text.lstrip())
    first, *others = text.strip().split(" ")
    return max([indent + len(first), *(indent + 2 * len(INDENT) + len(word) for word in others)])


def _lefts(texts: list[list[str]], width: int) -> list[int]:
    """Return where columns begin.

    Those that need less than their share leave the rest to the others. Where not even single words fit, a column runs
    on below the next.
    """
    wanted = [max(map(len, column)) for column in texts]
    least = [max(map(_least, column)) for column in texts]
    room = width - GAP * (len(texts) - 1)
    widths = list(wanted)
    if sum(wanted) > room:
        widths = _shares(wanted, room) if sum(least) > room else _above(least, wanted, room)
    lefts = [sum(widths[:column]) + GAP * column for column in range(len(texts))]
    for column in range(len(texts) - 1, 0, -1):
        lefts[column] = max(min(lefts[column], width - least[column]), column * GAP * 4)
    return lefts


def _shares(wanted: list[int], room: int) -> list[int]:
    """Share room evenly; those that need less leave the rest."""
    widths = [0] * len(wanted)
    for place, column in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        widths[column] = min(wanted[column], room // (len(wanted) - place))
        room -= widths[column]
    return widths


def _above(least: list[int], wanted: list[int], room: int) -> list[int]:
    """Share room so that nobody has less than the least."""
    more = _shares([want - have for want, have in zip(wanted, least, strict=True)], room - sum(least))
    return [have + extra for have, extra in zip(least, more, strict=True)]


def _wrapped(row: Line, width: int) -> list[str]:
    indent = INDENT * row.depth
    return wrap(
        row.text,
        width,
        initial_indent=indent,
        subsequent_indent=indent + INDENT * 2,
        break_on_hyphens=False,
    )


def _rows(steps: list[Step]) -> list[Line]:
    """Return lines with the CPUs they are of."""
    rows = []
    speaker: dict[int, str] = {}
    for step, stack, state in _leaves(steps):
        calls = [call for n, call in enumerate(stack) if n == 0 or call.operations or len(call.callees) > 1]
        is_deferred = step.task != step.cpu
        head = f"[{step.task}]"
        if is_deferred and calls and calls[0].text.partition("(")[0] == step.task.partition("#")[0]:
            head = f"[{calls.pop(0).text}]"
        if speaker.setdefault(step.column, f"[{step.cpu}]") != head:
            speaker[step.column] = head
            rows.append(Line(step.column, 0, head))
        for depth, call in enumerate(calls, is_deferred):
            if not call.is_shown:
                rows.append(Line(step.column, depth, call.text))
                call.is_shown = True
        rows.append(Line(step.column, len(calls) + is_deferred, _operation(step), state))
    return rows


def _folded(rows: list[Line]) -> Iterator[Line]:
    """Say of lines that come again and again how often, instead of showing them."""
    at, shown = 0, [row._replace(state=()) for row in rows]
    while at < len(rows):
        runs = ((length, _times(shown, at, length)) for length in range(1, FOLD_MAX + 1))
        length, times = max(runs, key=lambda run: run[0] * run[1])
        if times < FOLDED:
            yield rows[at]
            at += 1
        else:
            yield from rows[at : at + length]
            yield rows[at]._replace(
                text=f"[the same {times - 1} times more]", state=rows[at + length * times - 1].state
            )
            at += length * times


def _times(rows: list[Line], at: int, length: int) -> int:
    """Return how often a run of lines comes in a row; 0 if not once more."""
    times = 1
    while rows[at : at + length] == rows[at + times * length : at + (times + 1) * length]:
        times += 1
    return times if times > 1 else 0


def _leaves(steps: list[Step]) -> list[tuple[Step, list[_Call], tuple[str, ...]]]:
    """Return the operations to show, each with the functions it is in, and what is known of the state after it.

    What only helps a function, so that its name begins with a line, is part of it.
    """
    found = []
    stacks: dict[str, list[_Call]] = {}
    known: dict[str, str] = {}
    for step in steps:
        if step.what in ("read", "write"):
            known[step.subject] = f"{step.subject}{_equals(step.value)}"
        stack = stacks.setdefault(step.task, [])
        del stack[step.begun :]
        stack += [_Call(text) for text in step.calls[len(stack) :]]
        if not step.matters:
            continue
        calls = [call for n, call in enumerate(stack) if n == 0 or not call.text.startswith("_")]
        for caller, callee in pairwise(calls):
            caller.callees.add(id(callee))
        if calls:
            calls[-1].operations += 1
        found.append((step, calls, tuple(known.values())))
    return found


def _operation(step: Step) -> str:
    if step.what in ("read", "write"):
        return f"{step.what}{FIXED}{step.subject}{_equals(step.value)}"
    arguments = [step.subject, *step.arguments] if step.subject else step.arguments
    if step.what.startswith(LAST_FIRST):
        arguments = [*arguments[-1:], *arguments[:-1]]
    call = f"{step.what}({', '.join(arguments)})" if arguments else step.what
    return f"{call} waits" if step.value == "waits" else f"{call}{_equals(step.value)}"


def _equals(value: str) -> str:
    return f" ={FIXED}{value}" if value else ""
