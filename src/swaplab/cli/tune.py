"""``swaplab tune``: what to set for a workload."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from swaplab.cli.common import Flag, Html, Texts, check_apart, check_html, say_json, show, steps
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
from swaplab.report.tune import settings, tune_report
from swaplab.result import Result
from swaplab.scenario.load import load_scenario
from swaplab.scenario.reconstructed import reconstructed
from swaplab.study.plan import Variant
from swaplab.study.run import Summarise, Task
from swaplab.study.table import Summary
from swaplab.study.tune import STEPS, Point, Tuning, front, kinds, parse_constraint
from swaplab.study.tune import tune as find
from swaplab.study.verify import measured_of
from swaplab.vm import Kernel, find_kernels, run_on_kernel

__all__ = ["tune"]

ROUNDS = 6  # of a bisection of `STEPS`


def tune(
    scenario: Path,
    *,
    save: Literal["memory", "stall", "refaults", "writes"] = "memory",
    within: Texts = (),
    set: Texts = (),
    seeds: Annotated[int, Parameter(validator=Number(gte=1, lte=100))] = 1,
    cost: Path | None = None,
    jobs: Jobs = None,
    cluster: ClusterAddress = None,
    verify: Flag = False,
    kernel: str | None = None,
    html: Html = None,
    json: Flag = False,
) -> None:
    """Replay a workload under every kind of compressed swap, and say what to set. It changes nothing.

    Parameters
    ----------
    scenario
        The TOML file, or a recording's directory.
    save
        The number to make least. For memory, limits are lowered as far as the constraints allow.
    within
        A constraint: `stall<=500ms`, `writes<=100M`, `refaults<=10000`, `memory<=1G`, `slowdown<=2%`. May be repeated.
    set
        Change a key of the file: `KEY=VALUE`. May be repeated.
    seeds
        Replay each point with this number of seeds. The worst has to keep the constraints. Points whose ranges overlap
        are reported as equal.
    cost
        A cost file of `swaplab calibrate -o FILE`: the costs of the clock, and the device
        if the scenario names none.
    jobs
        Processes; by default as many as there are processors.
    cluster
        Run it on Dask instead: `local:4`, which starts workers here, or the scheduler at `tcp://HOST:PORT`.
    verify
        Then run the present and the chosen settings on a real kernel in QEMU, and say whether the gain is there.
    kernel
        Which kernel: as `swaplab run --kernel`.
    html
        Write the report, with the Pareto front, as one HTML file that needs nothing else.
    json
        Print JSON instead of tables.
    """
    if kernel and not verify:
        raise InputError("--kernel", "--verify beside it", "none")
    check_html(html)
    costs = chosen_cost(cost)
    loaded = load_scenario(scenario_file(scenario), set, costs.device)
    check_apart(read_for(scenario, loaded, cost), html)
    constraints = [parse_constraint(each) for each in within]
    task = Summarise(costs)
    kernels = find_kernels((kernel or loaded.machine.kernel,), ()) if verify else []
    say_if_it_compiles([loaded])
    count = len(kinds()) * ROUNDS * seeds
    with steps("variants", count) as step, mapping(jobs, cluster, len(kinds()) * seeds) as mapped:

        def told(given: Task, variants: Iterable[Variant]) -> Iterator[Summary]:
            for summary in mapped(given, variants):
                step()
                yield summary

        found = find(loaded, save, constraints, told, task, seeds)
    measured = _measure(found, kernels) if kernels and found.best else []
    report = tune_report(found, save, measured)
    if html:
        write_page(html, f"{loaded.name or scenario.name}: what to set", report)
    _print_json(found, measured) if json else show(report)
    raise SystemExit(0 if found.best else 1)


def _measure(found: Tuning, kernels: list[Kernel]) -> list[Result]:
    """Run the present and the best settings on a kernel."""
    with steps("present and chosen settings on a kernel", 1) as step:
        runs = run_on_kernel([found.present.scenario, found.best[0].scenario], kernels * 2)
        step()
    return runs


def _print_json(found: Tuning, measured: list[Result]) -> None:
    say_json(
        {
            "present": _point(found.present),
            "best": [_point(point) for point in found.best],
            "front": [_point(point) for point in front(found.points)],
            "costs": [{"without": constraint.name, **_point(point)} for constraint, point in found.costs],
            "settings": [line for point in found.best[:1] for line in settings(point)],
            "reconstructed": reconstructed(found.present.scenario),
            "measured": [measured_of(run)._asdict() for run in measured],
        }
    )


def _point(point: Point) -> dict[str, object]:
    ranges = {name: getattr(point, name)._asdict() for name in ("outcome", "least", "most")}
    return {"kind": point.kind.name, "limits": point.share / STEPS, **ranges}
