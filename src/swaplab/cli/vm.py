"""``swaplab vm``: what runs on a real kernel beside scenarios."""

from __future__ import annotations

from pathlib import Path

import cyclopts
from rich.table import Table

from swaplab.cli.common import Flag, console, say, say_json, steps
from swaplab.vm import debian_kernel, own_kernel
from swaplab.vm.selftest import Selftest, debian_source, run_selftest

__all__ = ["vm_app"]

CASES = 7

vm_app = cyclopts.App(name="vm", help="Real kernels in QEMU: run the kernel's own test of zswap.")


@vm_app.command
def selftest(
    *, source: Path | None = None, kernel: Path | None = None, modules: Path | None = None, json: Flag = False
) -> None:
    """Run Linux's own test of zswap, tools/testing/selftests/cgroup/test_zswap.c, on a real kernel.

    Example: `swaplab vm selftest`

    Status 1 if a case fails.

    Parameters
    ----------
    source
        A tree of the kernel's source with the test; by default Debian's of 6.12, fetched with apt.
    kernel
        A bzImage to run on; by default Debian's newest 6.12, fetched with apt.
    modules
        Directory with that kernel's modules.
    json
        Print JSON instead of a table.
    """
    tested = own_kernel(kernel, modules) if kernel else debian_kernel()
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
    table = Table(box=None, show_header=False)
    for case in found.cases:
        table.add_row(case.name, case.outcome, "; ".join(case.notes))
    console().print(table)
