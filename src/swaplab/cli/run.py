"""``swaplab run``: what zswap will do to a workload."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from swaplab.cli.common import (
    Flag,
    Html,
    Output,
    Texts,
    bars,
    check_apart,
    check_html,
    check_output,
    report_beside,
    say,
    say_json,
    show,
)
from swaplab.cli.replaying import PolicyFile, chosen_cost, read_for, say_if_it_compiles, scenario_file
from swaplab.errors import InputError
from swaplab.linux.release import MODELLED, Modelled
from swaplab.policy import Policy, read_policy
from swaplab.replay import replay
from swaplab.report.charts import miss_charts
from swaplab.report.page import write_page
from swaplab.report.parts import Part
from swaplab.report.run import run_report
from swaplab.report.upgrade import upgrade_report
from swaplab.report.vm import kernel_report
from swaplab.result import Result
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.load import load_scenario
from swaplab.scenario.misses import miss_curves
from swaplab.scenario.model import BASELINES, Baseline, Scenario, on_release_of
from swaplab.study.plan import Variant, of_baselines, of_releases
from swaplab.vm import (
    Kernel,
    at_pace,
    dry_run,
    find_kernels,
    guest_pace,
    run_on_kernel,
)

__all__ = ["run"]


ENGINES = ("replay", "kernel")
REPEAT_MAX = 1000
_Progress = Callable[[int, int], None]


def run(
    scenario: Path,
    *,
    set: Texts = (),
    on: str = "replay",
    baseline: Baseline | None = None,
    compare: Flag = False,
    kernels: str = "",
    policy: PolicyFile = None,
    cost: Path | None = None,
    kernel: Texts = (),
    modules: Annotated[tuple[Path, ...], Parameter(negative="", show_default=False)] = (),
    repeat: int = 1,
    dry_run: Flag = False,
    output: Output = None,
    html: Html = None,
    json: Flag = False,
) -> None:
    """Run a scenario, on a replay or on a real kernel, and say what zswap did for it.

    Example: `swaplab run scenarios/demo.toml --compare --set zswap.compressor=zstd`

    Parameters
    ----------
    scenario
        The TOML file, or a recording's directory.
    set
        Change a key of the file: `KEY=VALUE`, KEY as TOML has it. May be repeated.
    on
        `replay`, `kernel` (Linux in QEMU) or `replay,kernel`: both, side by side.
    baseline
        Run it under another kind of compressed swap.
    compare
        Replay it under each of them as well, and compare them in sentences.
    kernels
        Replay it on several releases of Linux, such as `6.12,7.2`, and say what an upgrade changes.
    policy
        A Python file with functions that decide in the place of Linux, in the replay: see the guide. It is run.
        With `--compare`, the scenario is replayed without it as well.
    cost
        A cost file of `swaplab calibrate -o FILE`: the costs of the replay's clock, and the device
        if the scenario names none. Beside a kernel, the default is the costs of its guest.
    kernel
        The kernel to run on: Debian's newest of a series, such as 7.2, fetched with apt (by default
        that of `machine.kernel`), or a bzImage. Several stand side by side. The replay is of the first one's release,
        if that is modelled.
    modules
        Directory with a bzImage's modules; of several, in their order.
    repeat
        Number of runs on each kernel. Each starts a part of a tick later; the tables show how far they are apart.
    dry_run
        Print QEMU's command line instead.
    output
        Write all samples of all counters as Parquet.
    html
        Write the report, with curves over time, as one HTML file that needs nothing else.
    json
        Print the counters at the end as JSON instead of tables.
    """
    engines = _engines(on)
    check_html(html)
    _check_options(engines, output, compare, kernel, modules, dry_run, repeat, policy)
    costs = chosen_cost(cost)
    loaded = load_scenario(scenario_file(scenario), set, costs.device)
    check_apart([*read_for(scenario, loaded, cost), *([policy] if policy else [])], output, html)
    releases = _releases(kernels, engines, baseline, compare, output, policy)
    asked = read_policy(policy) if policy else None
    plan = _plan(on_release_of(loaded, kernel[0]) if kernel else loaded, baseline, compare, releases, asked)
    own = plan[0].scenario
    booted = _kernels(kernel or (own.machine.kernel,), modules) if "kernel" in engines else []
    if dry_run:
        _print_commands(own, booted)
        return
    results: list[Result] = []
    runs: list[list[Result]] = []
    if "replay" in engines:
        say_if_it_compiles(each.scenario for each in plan)
    with bars() as bar:
        if "replay" in engines and booted and not cost:
            pace = guest_pace(booted[0], own, bar("pace of the guest"))
            results = [replay(at_pace(own, pace), pace.cost, baseline or "", bar("replay"))]
        elif "replay" in engines:
            results = [
                replay(each.scenario, costs, each.name, bar(each.name or "replay"), policy=each.policy) for each in plan
            ]
        if booted:
            runs = _run_on_each(own, booted, repeat, bar, baseline or "")
    measured = [result for each in runs for result in each]
    if output:
        [*results, *measured][0].write(output)
    curves = miss_curves(own, Accesses(own)) if html else []
    report = [*_report(runs, results, bool(releases)), *miss_charts(curves)]
    if html:
        write_page(html, f"{own.name or 'scenario'}: what zswap did for it", report)
    with report_beside(output):
        say_json([_summary(result) for result in (*results, *measured)]) if json else show(report)


def _report(runs: list[list[Result]], replayed: list[Result], on_releases: bool) -> list[Part]:
    if runs:
        return kernel_report(runs, replayed[0] if replayed else None)
    return upgrade_report(replayed) if on_releases else run_report(replayed)


def _releases(
    given: str, engines: list[str], baseline: Baseline | None, compare: bool, output: Path | None, policy: Path | None
) -> list[Modelled]:
    """Return the releases of ``--kernels``, after refusing options that do not go with it."""
    if not given:
        return []
    others = {
        "--on kernel": "kernel" in engines,
        "--baseline": baseline,
        "--compare": compare,
        "-o": output,
        "--policy": policy,
    }
    for name in [name for name, value in others.items() if value]:
        raise InputError("--kernels", f"no {name} beside it", "both")
    releases = [each for name in given.split(",") for each in MODELLED if each == name]
    if len({*releases}) < max(2, len(given.split(","))):
        raise InputError("--kernels", f"at least two of {', '.join(MODELLED)}", repr(given))
    return releases


def _engines(on: str) -> list[str]:
    engines = on.split(",")
    if not all(each in ENGINES for each in engines) or len(engines) > len({*engines}):
        raise InputError("--on", "replay, kernel or replay,kernel", repr(on))
    return engines


def _check_options(
    engines: list[str],
    output: Path | None,
    compare: bool,
    kernel: tuple[str, ...],
    modules: tuple[Path, ...],
    dry_run: bool,
    repeat: int,
    policy: Path | None,
) -> None:
    """Refuse, before any work is done, options that do not go together."""
    several = {
        "--compare": compare,
        "--repeat": repeat > 1,
        "second --kernel": len(kernel) > 1,
        "second engine": len(engines) > 1,
    }
    for name in [name for name, given in several.items() if given and output]:
        raise InputError("-o", f"one run, so no {name} beside it", "both")
    if not 1 <= repeat <= REPEAT_MAX:
        raise InputError("--repeat", f"a number from 1 to {REPEAT_MAX}", repeat)
    of_kernel = {"--kernel": kernel, "--modules": modules, "--dry-run": dry_run, "--repeat": repeat > 1}
    given = [name for name, value in of_kernel.items() if value]
    if given and "kernel" not in engines:
        raise InputError(given[0], "--on kernel beside it", "none")
    if policy and "kernel" in engines:
        raise InputError("--policy", "--on replay: no kernel asks it", "kernel")
    if compare and "kernel" in engines:
        raise InputError("--compare", "--on replay: it compares times, which the kernel does not count", "kernel")
    check_output(output)


def _kernels(wanted: tuple[str, ...], modules: tuple[Path, ...]) -> list[Kernel]:
    with bars() as bar:
        return find_kernels(wanted, modules, bar)


def _print_commands(scenario: Scenario, kernels: list[Kernel]) -> None:
    for kernel in kernels:
        say(shlex.join(dry_run(scenario, kernel)))


def _run_on_each(
    scenario: Scenario, kernels: list[Kernel], repeat: int, bar: Callable[[str], _Progress], configuration: str
) -> list[list[Result]]:
    """Run it `repeat` times on every kernel, all in one go, so that no processor waits for the last of a kernel's."""
    count = repeat * len(kernels)
    told = [bar(f"kernel {i + 1}" if count > 1 else "kernel") for i in range(count)]
    booted = [kernel for kernel in kernels for _ in range(repeat)]
    seeds = [*range(repeat)] * len(kernels)
    runs = run_on_kernel([scenario] * count, booted, told, configuration, seeds=seeds)
    return [runs[i : i + repeat] for i in range(0, count, repeat)]


def _plan(
    scenario: Scenario,
    baseline: Baseline | None,
    compare: bool,
    releases: Sequence[Modelled],
    policy: Policy | None,
) -> list[Variant]:
    """Return the variants to run: the scenario's own configuration first, or under a policy; or it on some releases."""
    if releases:
        return of_releases(scenario, releases)
    own = of_baselines(scenario, [baseline]) if baseline else [Variant({}, scenario)]
    if policy:
        own = [replace(own[0], policy=policy), *(own if compare else [])]
    others = [name for name in BASELINES if name != baseline] if compare else []
    return own + of_baselines(scenario, others)


def _summary(result: Result) -> dict[str, object]:
    guest = result.info.guest
    return {
        "run": result.info.summary(),
        "cgroups": {path or "/": result.final(path) for path in result.cgroups},
        **({"guest": msgspec.to_builtins(guest)} if guest else {}),
    }
