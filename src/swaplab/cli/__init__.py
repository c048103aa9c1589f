"""The command line, one module per command."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

import cyclopts

from swaplab import __version__
from swaplab.errors import SwaplabError

__all__ = ["app", "main"]

app = cyclopts.App(
    name="swaplab",
    help="A laboratory for Linux zswap: record a real program, replay it through zswap, read the answer.\n\n"
    "Example: `swaplab run scenarios/demo.toml --compare`",
    version=__version__,
)
# By name, so that only the command that runs pays for its imports. What stands here is shown instead of the docstring.
app.command(
    "swaplab.cli.run:run",
    name="run",
    help="Replay a scenario and say what zswap did for it.\n\n"
    "Example: `swaplab run scenarios/demo.toml --compare --set zswap.compressor=zstd`",
)
app.command(
    "swaplab.cli.trace:trace_app",
    name="trace",
    help="Look into page traces; convert those of other tools.\n\nExample: `swaplab trace info app.parquet`",
)
app.command(
    "swaplab.cli.record:record",
    name="record",
    help="Record which pages a program touches, and what they hold. It needs no privileges.\n\n"
    "Example: `swaplab record -o sorting -- sort -S 100M words.txt`",
)
app.command(
    "swaplab.cli.profile:profile",
    name="profile",
    help="Sample the memory of running processes; say what zswap would save with each compressor.\n\n"
    "Example: `swaplab profile --pid $$ --children`\n\n"
    "It takes the right to trace the processes: they are your own, or you are root. They go on running.",
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
    help="Real kernels in QEMU: run the kernel's own test of zswap.\n\nExample: `swaplab vm selftest`",
)
app.command(
    "swaplab.cli.calibrate:calibrate",
    name="calibrate",
    help="Measure this machine's processor, and with --device a disk, for the clock of the replay.\n\n"
    "Example: `swaplab calibrate -o cost.toml --device /var/tmp`",
)


def main() -> None:
    """Run the command line: status 2 on what the user can mend, 130 on ctrl-C, 141 when nobody reads on."""
    try:
        _run(sys.argv[1:])
    except BrokenPipeError:
        # What is still buffered would be written, and fail, at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None
    except (SwaplabError, OSError) as error:
        print(f"swaplab: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _run(arguments: Sequence[str]) -> None:
    try:
        app(arguments)
    finally:
        sys.stdout.flush()
