"""The command line, one module per command."""

from __future__ import annotations

import sys

import cyclopts

from swaplab import __version__
from swaplab.errors import SwaplabError

__all__ = ["app", "main"]

app = cyclopts.App(
    name="swaplab",
    help="A laboratory for Linux zswap: record a real program, replay it through zswap, read the answer.",
    version=__version__,
)
# By name, so that only the command that runs pays for its imports.
app.command("swaplab.cli.run:run", name="run", help="Replay a scenario and say what zswap did for it.")
app.command(
    "swaplab.cli.trace:trace_app", name="trace", help="Look into page traces; convert those of other tools."
)
app.command(
    "swaplab.cli.record:record",
    name="record",
    help="Record which pages a program touches, and what they hold. It needs no privileges.",
)
app.command(
    "swaplab.cli.profile:profile",
    name="profile",
    help="Sample the memory of running processes; say what zswap would save with each compressor.\n\n"
    "Example: `swaplab profile --pid $$ --children`\n\n"
    "It takes the right to trace the processes: they are your own, or you are root. They go on running.",
)


def main() -> None:
    """Run the command line: status 2 on what the user can mend, 130 on ctrl-C."""
    try:
        app()
    except (SwaplabError, OSError) as error:
        print(f"swaplab: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
