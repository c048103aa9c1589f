"""``swaplab profile``: what zswap would save now, on live memory."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from swaplab.cli.common import (
    Flag,
    Html,
    Output,
    bars,
    check_html,
    check_output,
    parse_seconds,
    report_beside,
    say_json,
    show,
    steps,
    tell,
)
from swaplab.errors import InputError
from swaplab.host.attach.idle import Idle, find_idle
from swaplab.host.attach.methods import best_method
from swaplab.host.processes import Process, in_cgroup, list_processes, with_pids
from swaplab.host.profile import Pages, with_idle, write_pages
from swaplab.host.profile import profile as make_profile
from swaplab.process import holding_signals
from swaplab.report.page import write_page
from swaplab.report.profile import profile_report
from swaplab.scenario.profile import PROFILE_SAMPLES_MAX

__all__ = ["profile"]


def profile(
    *,
    pid: Annotated[list[int] | None, Parameter(negative="")] = None,
    children: Flag = False,
    cgroup: str | None = None,
    all: Flag = False,
    cold: str | None = None,
    output: Output = None,
    samples: Annotated[int, Parameter(validator=Number(gte=30, lte=PROFILE_SAMPLES_MAX))] = 2000,
    seed: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    html: Html = None,
    json: Flag = False,
) -> None:
    """Sample the anonymous memory of running processes; say what zswap would save with each compressor.

    Parameters
    ----------
    pid
        A process; may be repeated.
    children
        The descendants of these processes as well.
    cgroup
        All processes in this cgroup and below it.
    all
        All processes.
    cold
        Wait so long first (`90`, `10m`, `1h`), and say what was not used meanwhile; ctrl-C ends the wait.
    output
        Write the sampled pages as a content profile for scenarios. It holds raw memory.
    samples
        Read at most this number of pages of each cgroup.
    seed
        Choose another sample.
    html
        Write the report as one HTML file that needs nothing else.
    json
        Print JSON instead of tables.
    """
    check_output(output)
    check_html(html)
    seconds = None if cold is None else parse_seconds(cold, "--cold")
    chosen = _choose(pid or [], children, cgroup, all)
    idle = [] if seconds is None else _wait(chosen, seconds)
    kept: list[Pages] = []
    with steps("reading memory", len(chosen)) as step:
        keep = kept.append if output else _forget
        result = make_profile(chosen, samples=samples, seed=seed, step=step, keep=keep)
    result = with_idle(result, idle) if idle else result
    if output:
        write_pages(output, kept, f"{result.total.processes} running processes, seed {seed}")
        tell(f"swaplab: {output} holds raw memory of these processes; only you may read it")
    report = profile_report(result)
    if html:
        write_page(html, "What zswap would save now", report)
    with report_beside(output):
        say_json(result) if json else show(report)


def _wait(processes: list[Process], seconds: float) -> list[Idle]:
    with bars() as bar, holding_signals():
        waiting = bar("waiting for what is used")
        chosen = [process for process in processes if process.has_memory]
        return find_idle(chosen, seconds, best_method(), lambda passed: waiting(round(passed), round(seconds)))


def _forget(pages: Pages) -> None:
    pass


def _choose(pids: list[int], children: bool, cgroup: str | None, every: bool) -> list[Process]:
    """Return the processes that exactly one of the options selects."""
    given = {"--pid": bool(pids), "--cgroup": cgroup is not None, "--all": every, "--children": children}
    names = [name for name, is_given in given.items() if is_given]
    if names not in (["--pid"], ["--pid", "--children"], ["--cgroup"], ["--all"]):
        expected = "one of --pid PID (or --pid PID --children), --cgroup PATH and --all; try --pid $$ --children"
        raise InputError("profile", expected, " ".join(names) or "none of them")
    processes = list_processes()
    if cgroup is not None:
        return in_cgroup(processes, cgroup)
    return with_pids(processes, pids, children=children) if pids else processes
