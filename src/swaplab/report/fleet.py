"""Settings for a fleet, their savings, and the machines that would lose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from swaplab.fleet.machines import Class, Plan
from swaplab.fleet.thresholds import Aim, Finding, Loser
from swaplab.report.parts import Part, Table, Verbatim
from swaplab.report.run import duration
from swaplab.scenario.units import round_size

__all__ = ["machines_report", "thresholds_report"]

LOSERS_MAX = 10
CHOICES_MAX = 10
NOTHING = "-"
PERCENTILES = (10, 50, 90)
ALL = "all"


def thresholds_report(found: Sequence[Finding], aim: Aim) -> list[Part]:
    """The age to call cold in each class, and the lines that set it."""
    if not found:
        return ["No job has two rows, so nothing is known of pages that come back."]
    table = Table("What to call cold", ["class", "machines", "jobs", "threshold", "memory", "saved", *_headings()])
    for each in found:
        table.add_row(
            _class(each.kind),
            f"{each.machines:,}",
            f"{each.jobs:,}",
            _age(each.threshold),
            round_size(each.memory),
            round_size(each.saved),
            *_percentiles(each.by_machine),
        )
    overall = found[-1]
    parts: list[Part] = [table, _explained(aim), _who_loses(overall)]
    parts += [_losers(overall.losers)] if overall.losers else []
    lines = [line for each in found for line in _settings(each)]
    return [*parts, Verbatim("\n".join(lines))] if lines else parts


def _class(kind: str) -> str:
    return kind or ALL


def _headings() -> list[str]:
    return [f"p{each}" for each in PERCENTILES]


def _percentiles(shares: NDArray[np.float64]) -> Iterator[str]:
    """Shares of memory that machines at some percentiles save; the next machine below, if none is there."""
    for each in PERCENTILES:
        yield f"{np.percentile(shares, each, method='lower'):.1%}"


def _age(seconds: int | None) -> str:
    return "none" if seconds is None else f"{seconds:,} s"


def _explained(aim: Aim) -> str:
    return (
        f"The threshold of a job is the least age from which on at most {_percent(aim.promotions)} of its working set "
        f"(pages touched within the first age) come back a minute, in {_percent(aim.share)} of its time. The threshold "
        f"of a class suits {_percent(aim.share)} of its jobs. Saved is the memory that compression frees of older "
        f"pages, in the mean over time. {_percent(aim.compressible)} of these compress, {aim.ratio:g} to 1, where the "
        "rows do not say it. p10 to p90 are the shares that machines save of their memory. This is arithmetic on "
        "collected numbers, and not measured: it says nothing of the time that is lost."
    )


def _percent(share: float) -> str:
    return f"{100 * share:g}%"


def _who_loses(finding: Finding) -> str:
    if finding.threshold is None:
        return "No age that was collected does for all classes together."
    count = len(finding.losers)
    if not count:
        return f"At {_age(finding.threshold)} for all, nobody has too many pages come back."
    return f"At {_age(finding.threshold)} for all, {count:,} of {finding.jobs:,} jobs have too many pages come back:"


def _losers(losers: Sequence[Loser]) -> Table:
    table = Table("", ["job", "machine", "class", "too many in", "would need"], texts=3)
    for each in losers[:LOSERS_MAX]:
        table.add_row(each.job, each.machine, each.kind, f"{each.over:.0%} of its time", _age(each.needs))
    if len(losers) > LOSERS_MAX:
        table.add_row(f"{len(losers) - LOSERS_MAX:,} more in --json")
    return table


def _settings(finding: Finding) -> Iterator[str]:
    """The lines that have DAMON reclaim what is older, as Linux does by age (mm/damon/reclaim.c, 6.12)."""
    if finding.threshold is not None:
        yield f"{_class(finding.kind)}, until the next boot, with zswap on:"
        yield f"  echo {finding.threshold * 10**6} > /sys/module/damon_reclaim/parameters/min_age"
        yield "  echo Y > /sys/module/damon_reclaim/parameters/enabled"


# Recordings -----------------------------------------------------------------------------------------------------------


def machines_report(found: Sequence[Class], plan: Plan, objective: str) -> list[Part]:
    """Settings for each class with their outcome, and the choices for all machines."""
    columns = [objective, *_headings(), "losers"]
    table = Table("What to set", ["class", "set", "as it is", *columns], texts=2)
    for each in found:
        before = _value(each.choices[0].total, objective)
        name = f"{_class(each.kind)} ({each.machines:,})"
        table.add_row(name, *_chosen(each, each.best, before, objective=objective))
    overall = found[-1]
    choices = Table("All machines", ["", "set", *columns], texts=2)
    ranked = sorted(range(len(overall.choices)), key=lambda number: overall.choices[number].total)
    for number in ranked[:CHOICES_MAX]:
        choices.add_row("best" if number == overall.best else "", *_chosen(overall, number, objective=objective))
    if len(ranked) > CHOICES_MAX:
        choices.add_row(f"{len(ranked) - CHOICES_MAX:,} more in --json")
    explained = (
        f"{objective.capitalize()} is the sum over machines; p10 to p90 are the shares that machines gain of it. Each "
        "number is of a replay, and none was measured."
    )
    if count := plan.reconstructed():
        explained += f" The traces of {count:,} of {len(plan.machines):,} machines are reconstructed from samples."
    losers = overall.choices[overall.best].losers
    parts: list[Part] = [table, choices, explained]
    return [*parts, _who_loses_by_it(losers, plan)] if losers else parts


def _chosen(of: Class, number: int, *between: str, objective: str) -> Iterator[str]:
    choice = of.choices[number]
    yield "\n".join(f"{key}={value}" for key, value in choice.settings.items()) or "as it is"
    yield from between
    yield _value(choice.total, objective)
    yield from _percentiles(choice.gains)
    yield f"{len(choice.losers):,}" if choice.losers else NOTHING


def _value(value: float, objective: str) -> str:
    if objective == "stall":
        return duration(value)
    return f"{value:,.0f}" if objective == "refaults" else round_size(value)


def _who_loses_by_it(losers: Sequence[int], plan: Plan) -> str:
    names = [plan.machines[number].path.as_posix() for number in losers[:LOSERS_MAX]]
    more = f" and {len(losers) - LOSERS_MAX:,} more" if len(losers) > LOSERS_MAX else ""
    return f"Machines that lose by the best setting for all: {', '.join(names)}{more}."
