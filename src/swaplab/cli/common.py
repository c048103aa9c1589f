"""What commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.progress import Progress

from swaplab.errors import InputError
from swaplab.files import check_writable, is_standard_output

__all__ = ["Flag", "Output", "check_output", "report_beside", "steps"]

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Output = Annotated[Path | None, Parameter(alias="-o", allow_leading_hyphen=True)]
"""A file to write; ``-`` is standard output."""


def check_output(output: Path | None, what: str = "-o") -> None:
    """Refuse, before the work is done, a file that cannot be made in the end.

    Raises:
        InputError: a directory, a socket, in no directory, or without the permission to write.
    """
    if output and len(output.parts) == 1 and output.name.startswith("-") and not is_standard_output(output):
        raise InputError(what, "a file's name, or - for standard output", output)
    try:
        if output:
            check_writable(output)
    except OSError as error:
        raise InputError(what, "a file that can be written", f"{output} ({error.strerror})") from None


@contextmanager
def report_beside(output: Path | None) -> Iterator[None]:
    """Have a report go to standard error where the output itself goes to standard output."""
    with redirect_stdout(sys.stderr) if output and is_standard_output(output) else nullcontext():
        yield


@contextmanager
def steps(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Yield what to call after every step of the work; it shows on a terminal only."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=total)
        yield lambda: bars.advance(task)
