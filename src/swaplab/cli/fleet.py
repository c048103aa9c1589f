"""``swaplab fleet``: what to set on many machines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from swaplab.cli.common import Flag, Html, Texts, bars, check_apart, check_html, say_json, show, steps
from swaplab.cli.replaying import ClusterAddress, Jobs, chosen_cost, mapping, say_if_it_compiles
from swaplab.errors import InputError
from swaplab.fleet.histograms import read_histograms
from swaplab.fleet.machines import Class, Plan, choose, machines_in, settings_of
from swaplab.fleet.thresholds import Aim, Finding, Tally, findings
from swaplab.report.fleet import machines_report, thresholds_report
from swaplab.report.page import write_page
from swaplab.study.run import Summarise
from swaplab.study.tune import parse_constraint
from swaplab.study.vary import parse_axis

__all__ = ["fleet"]

PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,9})?) ?%", re.ASCII)


def fleet(
    *paths: Path,
    percentile: Annotated[float, Parameter(validator=Number(gt=0, lte=100))] = 98.0,
    target: str | None = None,
    ratio: Annotated[float | None, Parameter(validator=Number(gte=1, lte=4096))] = None,
    compressible: str | None = None,
    vary: Texts = (),
    set: Texts = (),
    save: Literal["memory", "stall", "refaults", "writes"] | None = None,
    within: Texts = (),
    cost: Path | None = None,
    jobs: Jobs = None,
    cluster: ClusterAddress = None,
    html: Html = None,
    json: Flag = False,
) -> None:
    """Say what to set on many machines, what that would save, and which machines would lose.

    Parameters
    ----------
    paths
        Histograms of cold memory, CSV or Parquet; or one directory with a recording or a scenario of each machine, in
        a directory for each class.
    percentile
        Percent of the machines that may not lose; for histograms, of a job's time and of a class's jobs.
    target
        For histograms: the share of its working set that may come back to a job in a minute (0.2%).
    ratio
        For histograms: the compression ratio of compressible pages, where they have none (3).
    compressible
        For histograms: the share of memory that compresses, where they have none (100%).
    vary
        For a directory: `KEY=VALUE,VALUE,...` or `KEY=FIRST..LAST/STEP`, as `swaplab sweep` has it, or
        `limits=70%,80%`: all memory limits together. May be repeated.
    set
        For a directory: change a key for all: `KEY=VALUE`. May be repeated.
    save
        For a directory: the number to make least (memory).
    within
        For a directory: a constraint, as `swaplab tune` has it. May be repeated.
    cost
        For a directory: a cost file of `swaplab calibrate -o FILE`, for the clock.
    jobs
        Processes; by default as many as there are processors.
    cluster
        Run it on Dask instead: `local:4`, which starts workers here, or the scheduler at `tcp://HOST:PORT`.
    html
        Write the tables as one HTML file that needs nothing else.
    json
        Print JSON instead of tables.
    """
    if not paths:
        raise InputError("fleet", "files with histograms, or a directory with recordings", "none")
    check_html(html)
    check_apart(paths, html)
    of_histograms = {"--target": target, "--ratio": ratio, "--compressible": compressible}
    of_machines = {"--vary": vary, "--set": set, "--save": save, "--within": within, "--cost": cost, "--jobs": jobs}
    if not paths[0].is_dir():
        _refuse(of_machines | {"--cluster": cluster}, "a directory with recordings", paths[0])
        aim = Aim(
            _percent(target or "0.2%", "--target"),
            percentile / 100,
            ratio or 3.0,
            _percent(compressible or "100%", "--compressible"),
        )
        found = findings(_counted(paths, aim))
        report, told = thresholds_report(found, aim), [_finding(each) for each in found]
    else:
        _refuse(of_histograms, "histograms", paths[0])
        if len(paths) > 1 or not vary:
            expected, instead = ("one directory", f"{len(paths)}") if vary else ("something to vary: --vary", "nothing")
            raise InputError("fleet", expected, instead)
        costs = chosen_cost(cost)
        axes = [parse_axis(each) for each in vary]
        plan = Plan(machines_in(paths[0]), set, settings_of(axes), costs.device)
        objective = save or "memory"
        constraints = [parse_constraint(each) for each in within]
        plan.check(constraints)
        say_if_it_compiles(each.scenario for each in plan.first())
        with mapping(jobs, cluster, len(plan)) as mapped, steps("variants", len(plan)) as step:
            classes = choose(plan, mapped, Summarise(costs), objective, constraints, percentile / 100, step)
        report, told = machines_report(classes, plan, objective), [_class(each, plan) for each in classes]
    if html:
        write_page(html, f"{paths[0].name}: what to set", report)
    say_json(told) if json else show(report)


def _refuse(options: Mapping[str, object], whose: str, path: Path) -> None:
    for name, value in options.items():
        if value:
            raise InputError(name, f"{whose} with it", path)


def _percent(text: str, where: str) -> float:
    found = PERCENT.fullmatch(text)
    if not found or float(found[1]) > 100:
        raise InputError(where, "a percentage such as 0.2%", repr(text))
    return float(found[1]) / 100


def _counted(paths: Sequence[Path], aim: Aim) -> Tally:
    """Read all histograms."""
    tally: Tally | None = None
    with bars() as bar:
        for path in paths:
            with read_histograms(path) as histograms:
                tally = tally or Tally(histograms.ages, aim)
                if histograms.ages != tally.ages:
                    expected = f"the ages of {paths[0]} ({', '.join(map(str, tally.ages))})"
                    raise InputError(path, expected, ", ".join(map(str, histograms.ages)))
                told = bar(path.name)
                for rows in histograms.rows:
                    tally.add(rows)
                    told(rows.place.first, 0)
    return tally or Tally([0], aim)


def _finding(finding: Finding) -> dict[str, object]:
    return finding._asdict() | {
        "by_machine": finding.by_machine.tolist(),
        "losers": [each._asdict() for each in finding.losers],
    }


def _class(found: Class, plan: Plan) -> dict[str, object]:
    choices = [
        each._asdict()
        | {"gains": each.gains.tolist(), "losers": [str(plan.machines[number].path) for number in each.losers]}
        for each in found.choices
    ]
    return found._asdict() | {"choices": choices}
