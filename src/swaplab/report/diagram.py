"""The diagram that people post: a column per CPU, functions indented, time downwards, what broke at the end."""

from __future__ import annotations

from collections.abc import Iterable

from swaplab.explore import Step

__all__ = ["diagram"]

INDENT = "  "
GAP = 3


def diagram(steps: Iterable[Step], kind: str, sentence: str) -> str:
    """Draw an execution.

    Operations that no other CPU cares about are left out, and functions in which there are only such. What a CPU has
    deferred stands in its column, under its name in brackets.

    Args:
        steps: of the execution.
        kind: of bug.
        sentence: what broke.
    """
    rows = _rows(list(steps))
    names = list(dict.fromkeys(task for task, _ in rows))
    widths = {name: max(len(line) for task, line in [*rows, (name, name)] if task == name) + GAP for name in names}
    lines = [
        "".join(name.ljust(widths[name]) for name in names),
        "".join(("-" * len(n)).ljust(widths[n]) for n in names),
    ]
    for task, line in rows:
        left = sum(widths[name] for name in names[: names.index(task)])
        lines.append(" " * left + line)
    return "\n".join([line.rstrip() for line in lines] + ["", f"=> {kind}: {sentence}"])


def _rows(steps: list[Step]) -> list[tuple[str, str]]:
    """Return lines with the CPUs they are of."""
    rows = []
    shown: dict[str, list[bool]] = {}
    speaker: dict[str, str] = {}
    for step in steps:
        calls = shown.setdefault(step.task, [])
        del calls[step.begun :]
        calls += [False] * (len(step.calls) - len(calls))
        if not step.matters:
            continue
        if speaker.setdefault(step.cpu, step.cpu) != step.task:
            speaker[step.cpu] = step.task
            rows.append((step.cpu, f"[{step.task}]"))
        for depth, call in enumerate(step.calls):
            if not calls[depth]:
                rows.append((step.cpu, INDENT * depth + call))
                calls[depth] = True
        rows.append((step.cpu, INDENT * len(step.calls) + _operation(step)))
    return rows


def _operation(step: Step) -> str:
    if step.what in ("read", "write"):
        return f"{step.what} {step.subject}"
    return f"{step.what}({step.subject})" if step.subject else step.what
