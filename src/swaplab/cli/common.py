"""What commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.progress import Progress

from swaplab.errors import InputError

__all__ = ["Flag", "check_output", "steps"]

Flag = Annotated[bool, Parameter(negative="", show_default=False)]


def check_output(output: Path | None, what: str = "-o") -> None:
    """Refuse, before the work is done, a file that cannot be made in the end.

    Raises:
        InputError: a directory, or in none.
    """
    if output and (output.is_dir() or not output.parent.is_dir()):
        raise InputError(what, "a file's name in a directory that is there", output)


@contextmanager
def steps(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Yield what to call after every step of the work; it shows on a terminal only."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=total)
        yield lambda: bars.advance(task)
