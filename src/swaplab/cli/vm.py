"""``swaplab vm``: what runs on a real kernel beside scenarios."""

from __future__ import annotations

from pathlib import Path

import cyclopts

from swaplab.cli.common import Flag, bars, say, say_json, show, steps, tell
from swaplab.errors import SwaplabError
from swaplab.report.parts import Table
from swaplab.scenario.units import round_size
from swaplab.vm import find_kernels
from swaplab.vm.apt import Progress
from swaplab.vm.debian import Package, kept_kernels, known_kernels, listing, update_kernels
from swaplab.vm.selftest import Selftest, debian_source, run_selftest

__all__ = ["vm_app"]

CASES = 7

vm_app = cyclopts.App(name="vm", help="Real kernels in QEMU: which there are, and Linux's own test of zswap.")


@vm_app.command
def kernels(*, update: Flag = False, json: Flag = False) -> None:
    """List the kernels of Debian that `--kernel` takes: the newest of each series, and those that are here already.

    Example: `swaplab vm kernels`

    Parameters
    ----------
    update
        Ask the mirrors again. The first time they are asked in any case.
    json
        Print JSON instead of a table.
    """
    known, kept = known_kernels(), kept_kernels()
    if update or not known:
        with bars() as bar:
            known = _updated(bar("lists of Debian's kernels"), needed=update or not kept)
    listed = listing(known, kept)
    if json:
        say_json(listed)
        return
    table = Table("", ["series", "version", "suite", "size", "cached"], texts=3)
    for each in listed:
        cached = "yes" if each.cached else ""
        table.add_row(each.series, each.version, each.suite, round_size(each.size), cached)
    show([table])


def _updated(told: Progress, needed: bool) -> list[Package]:
    """Ask the mirrors; where they are out of reach and need not be, say so."""
    try:
        return update_kernels(told)
    except SwaplabError as error:
        if needed:
            raise
        tell(f"swaplab: {error}; these are here")
        return []


@vm_app.command
def selftest(
    *, source: Path | None = None, kernel: str | None = None, modules: Path | None = None, json: Flag = False
) -> None:
    """Run Linux's own test of zswap, tools/testing/selftests/cgroup/test_zswap.c, on a real kernel.

    Example: `swaplab vm selftest`

    Status 1 if a case fails.

    Parameters
    ----------
    source
        A tree of the kernel's source with the test; by default Debian's of 6.12, fetched with apt.
    kernel
        The kernel to run on: Debian's newest kernel of a series, fetched with apt (by default 6.12), or a bzImage.
    modules
        Directory with a bzImage's modules.
    json
        Print JSON instead of a table.
    """
    with bars() as bar:
        (tested,) = find_kernels([kernel] if kernel else [], [modules] if modules else [], bar)
    with steps("cases", CASES) as advance:
        found = run_selftest(tested, source or debian_source(), advance)
    if json:
        say_json(found)
    else:
        _print(found)
    raise SystemExit(any(case.outcome == "fail" for case in found.cases))


def _print(found: Selftest) -> None:
    emulated = "" if found.accelerator == "kvm" else ", emulated"
    say(f"test_zswap.c on {found.kernel.partition(' (')[0]}{emulated}")
    table = Table("", ["", "", ""], texts=3)
    for case in found.cases:
        table.add_row(case.name, case.outcome, "; ".join(case.notes))
    show([table])
