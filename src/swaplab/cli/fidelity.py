"""``swaplab fidelity``: the replay against real Linux, over a suite of scenarios."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.progress import Progress

from swaplab.cli.common import Flag, Html, bars, check_apart, check_html, console, say_json, show, steps
from swaplab.errors import InputError
from swaplab.fidelity.suite import (
    Judged,
    judge,
    measured_truth,
    recorded_path,
    recorded_releases,
    recorded_truth,
    scenario_files,
)
from swaplab.fidelity.truth import Truth, write_truth
from swaplab.linux.release import Release
from swaplab.report.fidelity import counters_of, fidelity_report
from swaplab.report.page import write_page
from swaplab.scenario.load import load_scenario
from swaplab.scenario.model import Scenario
from swaplab.scenario.shipped import shipped
from swaplab.vm import Kernel, find_kernels

__all__ = ["fidelity"]

SUITE = Path("scenarios/fidelity")
REPEAT_MAX = 100
SERIES = re.compile(r"\d+\.\d+")


def fidelity(
    scenarios: Annotated[tuple[Path, ...], Parameter(negative="", show_default=False)] = (SUITE,),
    *,
    recorded: Flag = False,
    record: Flag = False,
    repeat: int = 3,
    counters: Flag = False,
    kernel: str | None = None,
    modules: Path | None = None,
    html: Html = None,
    json: Flag = False,
) -> None:
    """Run scenarios on the replay and on a real kernel, and say how far the replay is off.

    Example: `swaplab fidelity --recorded`

    The kernel's results are kept, so that only changed scenarios run again.

    Parameters
    ----------
    scenarios
        Scenarios, or directories of them; by default `scenarios/fidelity`.
    recorded
        Judge by the kernels' results that ship with the scenarios; nothing runs in QEMU.
    record
        Write the kernel's results beside the scenarios, in `truth/6.12/` for a kernel 6.12.
    repeat
        Number of runs of each scenario on the kernel, from different starts, to know how far its own runs are apart.
    counters
        Show all counters of each scenario.
    kernel
        The kernel to run on: Debian's newest kernel of a series, fetched with apt (by default 6.12), or a bzImage.
        With `--recorded`, the only series to judge by.
    modules
        Directory with a bzImage's modules.
    html
        Write the report, with a chart of all counters, as one HTML file that needs nothing else.
    json
        Print all errors as JSON instead of tables.
    """
    if recorded and (record or modules):
        raise InputError("--recorded", "neither --record nor --modules beside it", "one")
    if not 1 <= repeat <= REPEAT_MAX:
        raise InputError("--repeat", f"a number from 1 to {REPEAT_MAX}", repeat)
    check_html(html)
    suite = {file: load_scenario(file) for file in scenario_files([shipped(each) for each in scenarios])}
    check_apart(suite, html)
    if recorded:
        truths = _recorded(suite, kernel)
    else:
        with bars() as bar:
            (found,) = find_kernels([kernel] if kernel else [], [modules] if modules else [], bar)
        truths = _measure(suite, found, repeat, record)
    judged = _judge(suite, truths)
    report = [*(counters_of(each) for each in judged if counters), *fidelity_report(judged)]
    if html:
        write_page(html, "How far the replay is from Linux", report)
    say_json(judged) if json else show(report)


def _recorded(suite: dict[Path, Scenario], kernel: str | None) -> list[tuple[Path, Truth]]:
    """What ships, of all releases or of one, a release after the other."""
    if kernel and not SERIES.fullmatch(kernel):
        raise InputError("--kernel with --recorded", "a series of Linux, such as 6.12", kernel)
    found = {file: [Release.parse(kernel)] if kernel else recorded_releases(file) for file in suite}
    releases = sorted({release for each in found.values() for release in each})
    return [
        (file, recorded_truth(file, scenario, release))
        for release in releases
        for file, scenario in suite.items()
        if release in found[file]
    ]


def _measure(suite: dict[Path, Scenario], kernel: Kernel, repeat: int, record: bool) -> list[tuple[Path, Truth]]:
    """The kernel's results for each; kept one by one, so that an interrupted suite goes on where it was."""
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    truths = []
    with _bars(len(suite)) as (advance, told):
        for file, scenario in suite.items():
            truth = measured_truth(file, scenario, kernel, repeat, date, [told] * repeat)
            truths.append((file, truth))
            if record:
                path = recorded_path(file, truth.release)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_truth(path, truth)
            advance(file.stem)
    return truths


def _judge(suite: dict[Path, Scenario], truths: list[tuple[Path, Truth]]) -> list[Judged]:
    judged = []
    with steps("replaying", len(truths)) as advance:
        for file, truth in truths:
            judged.append(judge(file, suite[file], truth))
            advance()
    return judged


@contextmanager
def _bars(total: int) -> Iterator[tuple[Callable[[str], None], Callable[[int, int], None]]]:
    """Yield what to call after each scenario, and along each run of one."""
    shown_on = console(stderr=True)
    with Progress(console=shown_on, transient=True, disable=not shown_on.is_terminal) as bars:
        all_of_them = bars.add_task("kernel", total=total)
        one = bars.add_task("this one", total=None)
        yield (
            lambda name: bars.update(all_of_them, advance=1, description=f"kernel: after {name}"),
            lambda done, accesses: bars.update(one, completed=done, total=accesses),
        )
