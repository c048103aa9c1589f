"""``swaplab run``: what zswap will do to a workload."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.progress import Progress

from swaplab.cli.common import Flag, check_output
from swaplab.errors import InputError
from swaplab.replay import is_compiled, replay
from swaplab.report.run import comparison, comparison_table, fault_table, heading, killed, memory_table
from swaplab.scenario.cost import DEFAULT_COST, load_cost
from swaplab.scenario.load import load_scenario
from swaplab.scenario.model import BASELINES, Baseline, Scenario, with_baseline
from swaplab.scenario.result import Result

__all__ = ["run"]


def run(
    scenario: Path,
    *,
    set: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    baseline: Baseline | None = None,
    compare: Flag = False,
    cost: Path | None = None,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    json: Flag = False,
) -> None:
    """Replay a scenario and say what zswap did for it.

    Example: `swaplab run scenarios/demo.toml --compare --set zswap.compressor=zstd`

    Parameters
    ----------
    scenario
        The TOML file, or a recording's directory.
    set
        Change a key of the file: `KEY=VALUE`, KEY as TOML has it. May be repeated.
    baseline
        Run it under another kind of compressed swap.
    compare
        Run it under each of them as well, and say what the comparison tells.
    cost
        What things cost on the clock, as `swaplab calibrate -o FILE` wrote it.
    output
        Write all samples of all counters as Parquet.
    json
        Print the counters at the end as JSON instead of tables.
    """
    if output and compare:
        raise InputError("-o", "one run, so no --compare beside it", "both")
    check_output(output)
    path = scenario / "scenario.toml" if scenario.is_dir() else scenario
    loaded = load_scenario(path, set)
    costs = load_cost(cost) if cost else DEFAULT_COST
    plan = _plan(loaded, baseline, compare)
    with _progress() as bars:
        results = [replay(each, costs, name, bars(name or "replay")) for name, each in plan.items()]
    if output:
        results[0].write(output)
    if json:
        print(msgspec.json.encode([_summary(result) for result in results]).decode())  # noqa: T201
    else:
        _show(results, next(iter(plan.values())))


def _plan(scenario: Scenario, baseline: Baseline | None, compare: bool) -> dict[str, Scenario]:
    """What to run, by the name of its configuration; the scenario's own, first, is nameless."""
    own = with_baseline(scenario, baseline) if baseline else scenario
    plan: dict[str, Scenario] = {baseline or "": own}
    if compare:
        plan |= {name: with_baseline(scenario, name) for name in BASELINES}
    return plan


def _summary(result: Result) -> dict[str, object]:
    return {
        "run": msgspec.to_builtins(result.info),
        "cgroups": {path or "/": result.final(path) for path in result.cgroups},
    }


def _show(results: list[Result], scenario: Scenario) -> None:
    console = Console(highlight=False, markup=False, emoji=False)  # names are the user's, and mean what they say
    parts = [heading(scenario, results[0]), memory_table(results[0], scenario), fault_table(results[0])]
    parts += [sentence] if (sentence := killed(results[0])) else []
    parts += [comparison_table(results), comparison(results)] if len(results) > 1 else []
    for i, part in enumerate(parts):
        if i:
            console.print()
        console.print(part)


_Progress = Callable[[int, int], None]


@contextmanager
def _progress() -> Iterator[Callable[[str], _Progress]]:
    """Yield what makes a bar for one run; there are none where standard error is no terminal."""
    if not is_compiled():
        print("swaplab: compiling the replay; this happens once and takes about half a minute", file=sys.stderr)  # noqa: T201
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:

        def bar(description: str) -> _Progress:
            task = bars.add_task(description, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield bar
