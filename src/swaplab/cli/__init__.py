"""The command line, one module per command."""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn

import cyclopts

from swaplab import __version__
from swaplab.cli.common import conclude, console
from swaplab.process import end_on_signals
from swaplab.text import FALLBACK

__all__ = ["app", "main"]

app = cyclopts.App(
    name="swaplab",
    help="A laboratory for Linux zswap: record a real program, replay it through zswap, read the answer.\n\n"
    "Example: `swaplab run scenarios/demo.toml --compare`",
    version=__version__,
    suppress_keyboard_interrupt=False,
    console=console(),
    exit_on_error=False,
    print_error=False,
)
# By name, so that only the command that runs pays for its imports. What stands here is shown instead of the docstring.
app.command(
    "swaplab.cli.run:run",
    name="run",
    help="Replay a scenario and say what zswap did for it.\n\n"
    "Example: `swaplab run scenarios/demo.toml --compare --set zswap.compressor=zstd`",
)
app.command(
    "swaplab.cli.sweep:sweep",
    name="sweep",
    help="Replay a scenario under all combinations of some settings, side by side.\n\n"
    "Example: `swaplab sweep scenarios/demo.toml --vary zswap.compressor=lz4,zstd --vary "
    "cgroup.shop.memory.max=40M..64M/8M`\n\n"
    "Replays are kept: an interrupted sweep goes on where it was, and another one does not repeat them.",
)
app.command(
    "swaplab.cli.tune:tune",
    name="tune",
    help="Replay a workload under every kind of compressed swap, and say what to set. It changes nothing.\n\n"
    'Example: `swaplab tune scenarios/demo.toml --save memory --within "stall<=1s"`',
)
app.command(
    "swaplab.cli.fleet:fleet",
    name="fleet",
    help="Say what to set on many machines, what that would save, and which machines would lose.\n\n"
    "Example: `swaplab fleet histograms.parquet`, or `swaplab fleet recordings/ --vary zswap.compressor=lz4,zstd`",
)
app.command(
    "swaplab.cli.trace:trace_app",
    name="trace",
    help="Look into page traces; convert those of other tools.\n\nExample: `swaplab trace info app.parquet`",
)
app.command(
    "swaplab.cli.record:record",
    name="record",
    help="Record which pages a program touches, and what they hold; or attach to running processes. It needs no "
    "privileges.\n\n"
    "Example: `swaplab record -o sorting -- sort -S 100M words.txt`, or `swaplab record --unit redis --duration 10m`",
)
app.command(
    "swaplab.cli.profile:profile",
    name="profile",
    help="Sample the memory of running processes; say what zswap would save with each compressor.\n\n"
    "Example: `swaplab profile --pid $$ --children`\n\n"
    "It needs the right to trace the processes: they are your own, or you are root. They go on running.",
)
app.command(
    "swaplab.cli.doctor:doctor",
    name="doctor",
    help="Explain the zswap counters of this machine, or of a report, with the arithmetic.\n\n"
    "Example: `swaplab doctor`, or `swaplab doctor report.txt`\n\n"
    "To look at another machine: `grep -rs . /proc/meminfo /proc/vmstat /proc/swaps /sys/module/zswap/parameters "
    "/sys/kernel/debug/zswap > report.txt`",
)
app.command(
    "swaplab.cli.top:top",
    name="top",
    help="Show live what every cgroup has in zswap, and how many pages come and go a second.\n\n"
    "Example: `swaplab top`, or `swaplab top --count 1 --sort stores`",
)
app.command(
    "swaplab.cli.check:check",
    name="check",
    help="Run every interleaving of programs on shared objects; say what breaks, or that nothing does.\n\n"
    "Example: `swaplab check offline`",
)
app.command(
    "swaplab.cli.fidelity:fidelity",
    name="fidelity",
    help="Run scenarios on the replay and on a real kernel, and say how far the replay is off.\n\n"
    "Example: `swaplab fidelity --recorded`",
)
app.command(
    "swaplab.cli.vm:vm_app",
    name="vm",
    help="Real kernels in QEMU: which there are, and Linux's own test of zswap.\n\nExample: `swaplab vm kernels`",
)
app.command(
    "swaplab.cli.calibrate:calibrate",
    name="calibrate",
    help="Measure this machine's processor, and with --device a disk, for the clock of the replay.\n\n"
    "Example: `swaplab calibrate -o cost.toml --device /var/tmp`",
)


def main() -> NoReturn:
    """Run the command line, and end with its status."""
    _open_streams()
    raise SystemExit(conclude(_run))


def _run() -> None:
    end_on_signals()
    app(sys.argv[1:])


def _open_streams() -> None:
    """Have three standard streams that take any text; where one is closed, nobody listens."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which no other file must get
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - open to the end
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=FALLBACK)
