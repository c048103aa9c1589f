"""The doctor's findings, as text for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.padding import Padding
from rich.text import Text

from swaplab.doctor.facts import Snapshot
from swaplab.doctor.rules import Finding
from swaplab.doctor.watch import Rates
from swaplab.scenario.units import round_size

__all__ = ["findings_text", "rates_line"]

UNREAD_MAX = 5


def findings_text(findings: list[Finding], snapshot: Snapshot) -> Iterator[Text | Padding]:
    """Every finding with its evidence; first what is wrong, of the machine before the cgroups."""
    for cgroup in dict.fromkeys(each.cgroup for each in findings):
        if cgroup is not None:
            yield Text(f"cgroup {cgroup}\n", style="bold")
        own = [each for each in findings if each.cgroup == cgroup]
        for each in sorted(own, key=lambda each: each.kind != "problem"):
            yield from _finding(each)
    if not findings:
        yield Text("Nothing is in zswap or swap that these counters tell of.")
    yield from _unread(snapshot)


def _finding(finding: Finding) -> Iterator[Text | Padding]:
    mark = "! " if finding.kind == "problem" else ""
    yield Text(f"{mark}{finding.title}", style="bold")
    for line in finding.evidence:
        yield _indented(line, 4)
    yield _indented(finding.consequence, 2)
    if finding.setting:
        yield _indented(f"To change it: {finding.setting}", 2)
    yield Text("")


def _indented(line: str, columns: int) -> Padding:
    return Padding(Text(line), (0, 0, 0, columns), expand=False)


def _unread(snapshot: Snapshot) -> Iterator[Text]:
    for line in snapshot.unread[:UNREAD_MAX]:
        yield Text(f"not read: {line}")
    if len(snapshot.unread) > UNREAD_MAX:
        yield Text(f"not read: {len(snapshot.unread) - UNREAD_MAX} files more")


def rates_line(found: Rates) -> str:
    """One line for an interval: events a second, and what zswap holds at its end."""
    parts = [f"{name} {value:,.0f}/s" for name, value in found.per_second.items()]
    if found.zswap is not None and found.zswapped is not None:
        parts.append(f"{round_size(found.zswapped)} in {round_size(found.zswap)}")
    return "  ".join(parts)
