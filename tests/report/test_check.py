"""The table of verdicts: what is the same in all is said once, and nothing is wider than the page."""

from __future__ import annotations

from msgspec.structs import replace

from swaplab.explore import Effort, Holds
from swaplab.races.cases import Judgement, cases
from swaplab.report.check import table


def judged(label: str, group: str = "", as_expected: bool = True) -> Judgement:
    return Judgement("target", label, True, as_expected, group, Holds(Effort(1234, 5, []), []), 1.5)


def test_groups() -> None:
    labels = [
        "add, lock a, lookup rcu, at once",
        "add, lock b, lookup bare, at once",
        "add, lock b, lookup rcu, at once, pinned",
    ]
    rows = [judged("other"), *(judged(label, "add") for label in labels)]
    assert table(rows, 60).splitlines() == [
        "check         verdict                     executions    time",
        "-" * 60,
        "other         holds, complete                  1,234  1.50 s",
        "add, at once; lock, lookup:",
        "  a, rcu      holds, complete                  1,234  1.50 s",
        "  b, bare     holds, complete                  1,234  1.50 s",
        "  b, rcu,     holds, complete                  1,234  1.50 s",
        "    pinned",
    ]


def test_numbers_stay_apart() -> None:
    verdict = Holds(Effort(9_999_999, 5, []), [])
    line = table([replace(judged("a"), verdict=verdict, seconds=99_999.0)]).splitlines()[2]
    assert line.split()[-3:] == ["9,999,999", "99999", "s"]


def test_short_names() -> None:
    assert [line.split()[0] for line in table([judged("a"), judged("b")]).splitlines()] == ["check", "-" * 80, "a", "b"]
    assert all(len(line) <= 80 for line in table([judged("a"), judged("b")]).splitlines())


def test_the_matrix_fits() -> None:
    found = table([judged(case.label, case.group, as_expected=False) for case in cases("offline")])
    assert all(len(line) <= 80 for line in found.splitlines())
    headings = [line for line in found.splitlines()[2:] if not line.startswith(" ")]
    assert "add, lists at offline; list_lru, lookup:" in headings
    assert all(case.label.startswith(case.group) for case in cases("offline"))
