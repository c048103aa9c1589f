"""Shared parts of the commands."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from pathlib import Path
from typing import Annotated

from cyclopts import CycloptsError, Parameter, UnusedCliTokensError
from rich.console import Console
from rich.progress import Progress
from rich.segment import Segment

from swaplab.errors import InputError, SwaplabError
from swaplab.files import check_writable, is_standard_output
from swaplab.process import signal_of
from swaplab.report.parts import Diagram, Part, Verbatim
from swaplab.report.terminal import rendered
from swaplab.report.vega import check_installed
from swaplab.text import FALLBACK, shown_lines, to_json

__all__ = [
    "Flag",
    "Html",
    "Output",
    "Steps",
    "Texts",
    "bars",
    "check_apart",
    "check_html",
    "check_output",
    "conclude",
    "console",
    "parse_seconds",
    "printing_beside",
    "report_beside",
    "say",
    "say_json",
    "show",
    "steps",
    "tell",
]


_SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smh]?)", re.ASCII)
WIDTH_MIN = 20  # in less, the help never comes to an end


class _Console(Console):
    """A console that shows what a terminal would obey, wherever it comes from."""

    def on_broken_pipe(self) -> None:
        """Leave it to the caller; rich would end the program with status 1."""
        raise BrokenPipeError

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            each if each.control else each._replace(text=shown_lines(each.text)) for each in buffer
        )


Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Texts = Annotated[tuple[str, ...], Parameter(negative="", show_default=False)]
"""An option that may be repeated."""
Output = Annotated[Path | None, Parameter(alias="-o", allow_leading_hyphen=True)]
"""A file to write; ``-`` is standard output."""
Html = Annotated[Path | None, Parameter(name="--html")]
"""A page to write the report into."""


def console(*, stderr: bool = False) -> Console:
    """Return what to print tables on: their names are the user's, and mean what they say."""
    made = _Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    made.width = max(made.width, WIDTH_MIN)
    return made


def say(text: str) -> None:
    """Print lines of text."""
    sys.stdout.write(shown_lines(text) + "\n")


def tell(text: str) -> None:
    """Print lines of text beside the output, on standard error; nobody may listen, and a program may have closed it."""
    with suppress(OSError, ValueError):
        sys.stderr.write(shown_lines(text) + "\n")
        sys.stderr.flush()


def show(parts: Iterable[Part]) -> None:
    """Print a report, with an empty line between its parts."""
    printed = console()
    shown = [(part, each) for part in parts if (each := rendered(part)) is not None]
    for number, (part, each) in enumerate(shown):
        if number:
            printed.print()
        printed.print(each, soft_wrap=isinstance(part, Verbatim | Diagram))  # these have their lines


def say_json(value: object) -> None:
    """Print a value as one line of JSON."""
    sys.stdout.write(to_json(value) + "\n")


def parse_seconds(text: str, where: str) -> float:
    """Read a time such as ``90``, ``90s``, ``10m`` or ``1h``.

    Raises:
        InputError: it is something else.
    """
    found = _SECONDS.fullmatch(text)
    if not found:
        raise InputError(where, "seconds, or a time with s, m or h, such as 10m", repr(text))
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def conclude(work: Callable[[], object]) -> int:
    """Do some work, and return its status: 2 on what the user can mend, 141 when nobody reads on, 128 + n on signal n.

    What the user can mend is said in a line on standard error.
    """
    try:
        try:
            work()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        return _failed(128 + signal.SIGPIPE)
    except (SwaplabError, CycloptsError, OSError) as error:
        return _failed(2, f"swaplab: {_sentence(error)}")
    except MemoryError:
        return _failed(2, "swaplab: there is not enough memory")
    except KeyboardInterrupt as error:
        return _failed(128 + signal_of(error))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _sentence(error: Exception) -> str:
    """Return what an error says."""
    if isinstance(error, UnusedCliTokensError):
        return f"no argument is expected here: {' '.join(error.unused_tokens or ())}"
    if isinstance(error, FileNotFoundError) and error.filename is None and not _has_directory():
        return "the directory in which swaplab was started is no longer there"
    return str(error)


def _has_directory() -> bool:
    """Whether the directory in which this process is still has a name."""
    try:
        return bool(os.getcwd())  # noqa: PTH109 - what else asks for it
    except FileNotFoundError:
        return False


def _failed(status: int, message: str = "") -> int:
    """Say why; standard output may be what failed, and would fail again with what is still to be written."""
    if message:
        tell(message)
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return status


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


def check_html(html: Path | None) -> None:
    """Refuse, before the work is done, a page that cannot be made in the end.

    Raises:
        InputError: it cannot be written: see `check_output`.
        SwaplabError: what draws charts is not installed.
    """
    check_output(html, "--html")
    if html:
        check_installed()


def _is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths mean one file, which may not be there yet; devices and pipes are none."""
    if one.exists() and other.exists():
        return one.is_file() and one.samefile(other)
    return one.absolute() == other.absolute()


def check_apart(inputs: Iterable[Path], *outputs: Path | None) -> None:
    """Refuse outputs that would replace what is read, or each other.

    Raises:
        InputError: one is the file of an input, or of another output.
    """
    before = list(inputs)
    for output in filter(None, outputs):
        for each in before:
            if _is_same_file(each, output):
                raise InputError(output, "another file than what is read or written beside it", "the same")
        before.append(output)


@contextmanager
def report_beside(output: Path | None) -> Iterator[None]:
    """Have a report go to standard error where the output itself goes to standard output."""
    with redirect_stdout(sys.stderr) if output and is_standard_output(output) else nullcontext():
        yield


@contextmanager
def printing_beside() -> Iterator[None]:
    """Have all that is printed inside go to standard error: by programs of the user's, whose output is not the report.

    That is so of whoever prints, by Python or not, and of processes that are started meanwhile. What a program makes of
    standard error is not for what is said after it.
    """
    sys.stdout.flush()
    kept, error = os.dup(1), sys.stderr
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(2), "w", 1, errors=FALLBACK) as beside, redirect_stdout(beside):
            yield
    finally:
        sys.stderr = error
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


class Steps:
    """A progress bar: to be called after every step of the work. It shows on a terminal only."""

    def __init__(self, bars: Progress, what: str, total: int) -> None:
        self._bars = bars
        self._task = bars.add_task(what, total=total)

    def __call__(self) -> None:
        """Go on by a step."""
        self._bars.advance(self._task)

    def say(self, what: str) -> None:
        """Say what is being done."""
        if not self._bars.disable:
            self._bars.update(self._task, description=what)


@contextmanager
def bars() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Yield what makes a progress bar, to be told what is done and what there is in all; on a terminal only."""
    shown_on = console(stderr=True)
    with Progress(console=shown_on, transient=True, disable=not shown_on.is_terminal) as shown:

        def bar(description: str) -> Callable[[int, int], None]:
            if shown.disable:
                return lambda done, total: None
            task = shown.add_task(description, total=None)
            return lambda done, total: shown.update(task, completed=done, total=total)

        yield bar


@contextmanager
def steps(what: str, total: int) -> Iterator[Steps]:
    """Yield a progress bar."""
    shown_on = console(stderr=True)
    with Progress(console=shown_on, transient=True, disable=not shown_on.is_terminal) as bars:
        yield Steps(bars, what, total)
