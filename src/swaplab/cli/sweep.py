"""``swaplab sweep``: a scenario under all combinations of some settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from swaplab.cli.common import (
    Flag,
    Html,
    Output,
    Texts,
    check_apart,
    check_html,
    check_output,
    report_beside,
    say_json,
    show,
    steps,
)
from swaplab.cli.replaying import (
    ClusterAddress,
    Jobs,
    chosen_cost,
    mapping,
    read_for,
    say_if_it_compiles,
    scenario_file,
)
from swaplab.errors import InputError
from swaplab.report.page import write_page
from swaplab.report.sweep import sweep_report
from swaplab.study.plan import Variant, of_axes
from swaplab.study.run import Map, Summarise, Task
from swaplab.study.table import Outcome, Spreads, spreads, write_table
from swaplab.study.vary import parse_axis

__all__ = ["sweep"]

SEEDS_MAX = 1000


def sweep(
    scenario: Path,
    *,
    vary: Texts = (),
    set: Texts = (),
    seeds: Annotated[int, Parameter(validator=Number(gte=1, lte=SEEDS_MAX))] = 1,
    cost: Path | None = None,
    jobs: Jobs = None,
    cluster: ClusterAddress = None,
    output: Output = None,
    html: Html = None,
    json: Flag = False,
) -> None:
    """Replay a scenario under all combinations of some settings, and put them side by side.

    Parameters
    ----------
    scenario
        The TOML file, or a recording's directory.
    vary
        `KEY=VALUE,VALUE,...` or `KEY=FIRST..LAST/STEP`, KEY as TOML has it. May be repeated.
    set
        Change a key for all: `KEY=VALUE`. May be repeated.
    seeds
        Run each combination with this number of seeds; show medians and ranges.
    cost
        A cost file of `swaplab calibrate -o FILE`: the costs of the clock, and the device
        if the scenario names none.
    jobs
        Processes; by default as many as there are processors.
    cluster
        Run it on Dask instead: `local:4`, which starts workers here, or the scheduler at `tcp://HOST:PORT`.
    output
        Write all counters at the end of every variant as Parquet, a row for each cgroup.
    html
        Write the table and a chart as one HTML file that needs nothing else.
    json
        Print JSON instead of a table.
    """
    check_output(output)
    check_html(html)
    if not vary and seeds == 1:
        raise InputError("sweep", "something to vary: --vary KEY=VALUE,VALUE,... or --seeds N", "nothing")
    costs = chosen_cost(cost)
    variants = of_axes(scenario_file(scenario), set, [parse_axis(each) for each in vary], seeds, costs.device)
    check_apart(read_for(scenario, variants[0].scenario, cost), output, html)
    say_if_it_compiles(each.scenario for each in variants)
    with report_beside(output):
        with mapping(jobs, cluster, len(variants)) as mapped:
            found = _run(variants, mapped, Summarise(costs), output)
        report = sweep_report(found)
        if html:
            write_page(html, f"{scenario.name}: what was varied", report)
        _print_json(found) if json else show(report)


def _run(variants: Sequence[Variant], mapped: Map, task: Task, output: Path | None) -> Spreads:
    with steps("variants", len(variants)) as step:
        summaries = mapped(task, variants)
        outcomes: list[Outcome] = []
        for summary in write_table(output, variants, summaries) if output else summaries:
            outcomes.append(summary.outcome)
            step()
    return spreads(variants, outcomes)


def _print_json(found: Spreads) -> None:
    def rows() -> Iterator[dict[str, object]]:
        for each in found.rows:
            yield {name: value if name == "settings" else value._asdict() for name, value in each._asdict().items()}

    say_json(list(rows()))
