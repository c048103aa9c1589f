"""The program: before a command begins, and after its end, a signal ends it at once and without a word.

An import may swallow the exception that a signal would be, and there is nothing to clean up yet, or any more.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Callable

__all__ = ["main"]


def main() -> None:
    """Import what the command line asks for, and run it."""
    if sys.argv[1:2] == ["check"] and os.environ.get("PYTHONHASHSEED", "random") == "random":
        # Programs may go through sets of texts: in the same order every time they are checked.
        os.execve(sys.executable, sys.orig_argv, os.environ | {"PYTHONHASHSEED": "0"})  # noqa: S606
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    run = _imported(sys.argv[1] if len(sys.argv) > 1 else "")
    signal.signal(signal.SIGINT, before)
    try:
        run()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)


def _imported(command: str) -> Callable[[], None]:
    """Import a command and what runs it.

    Raises:
        SystemExit: it cannot be loaded, for want of memory or of a library.
    """
    try:
        from swaplab.cli import main as run  # noqa: PLC0415 - see the module's docstring

        if command.isidentifier() and importlib.util.find_spec(f"swaplab.cli.{command}"):
            importlib.import_module(f"swaplab.cli.{command}")
    except (ImportError, MemoryError, OSError) as error:
        sys.stderr.write(f"swaplab: cannot be loaded: {error or 'there is not enough memory'}\n")
        raise SystemExit(2) from None
    return run


if __name__ == "__main__":
    main()
