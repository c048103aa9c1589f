"""The programs in a Python file of a user's."""

from __future__ import annotations

import inspect
import runpy
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from traceback import extract_tb
from typing import Any, NamedTuple

from swaplab.errors import InputError, SwaplabError
from swaplab.explore import Program, ProgramError
from swaplab.explore.guard import loading
from swaplab.explore.program import noting
from swaplab.scenario.regular import found_instead
from swaplab.text import text_of

__all__ = ["programs_of", "sources_of"]


class _Last(NamedTuple):
    """The file that was run last.

    Attributes:
        folder: where it is, and what it may import.
        others: modules that were there before.
    """

    folder: Path
    others: frozenset[str]

    def imported(self) -> dict[str, Path]:
        """Return the files of the modules that come from beside the file, in order of the modules' names."""
        found = {}
        for name in sorted(sys.modules.keys() - self.others):
            stem = self.folder.joinpath(*name.split("."))
            for source in (stem.with_suffix(".py"), stem / "__init__.py"):
                if getattr(sys.modules[name], "__file__", None) == str(source):
                    found[name] = source
        return found


_last: list[_Last] = []


def programs_of(path: Path) -> list[Program[Any]]:
    """Run a file, and return the programs it leaves in its variables, or in lists, tuples and dicts there, in order.

    As with any script, modules beside it can be imported. The controls of others are not among what is returned.

    Raises:
        InputError: there is no such file, it fails, has no program, has programs that cannot be told apart, or makes
            one that it does not keep: it would not be run.
        ProgramError: one of its programs could not be run.
    """
    if instead := found_instead(path):
        raise InputError(path, "a Python file", instead)
    made: list[tuple[int, Program[Any]]] = []
    with noting(lambda program: made.extend((line, program) for line in _line_in(path))):
        variables = _run(path)
    found = list(_in_variables(variables))
    controls = [program.control for program in found if program.control]
    kept = {id(program) for program in [*found, *controls]}
    for line, program in made:
        if id(program) not in kept:
            raise InputError(
                f"{path}, line {line}",
                "a variable for each program, or a list or dict of them",
                f"{program.name} in none",
            )
    if not found:
        raise InputError(path, "a variable that is a swaplab.Program, or a list or dict of them", "none")
    chosen = [program for program in found if not any(program is control for control in controls)]
    counts = Counter(program.name for each in chosen for program in (each, each.control) if program)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise InputError(path, "programs with names of their own", f"{counts[twice[0]]} of the name {twice[0]!r}")
    return chosen


def sources_of(path: Path) -> list[Path]:
    """Run a file, and return it and the files of all that it imports from beside it.

    Raises:
        InputError: there is no such file, it fails, or has programs that cannot be told apart.
        ProgramError: one of its programs could not be run.
    """
    programs_of(path)
    return [path, *_last[-1].imported().values()]


def _run(path: Path) -> dict[str, Any]:
    _begin(path.resolve().parent)
    try:
        with loading():
            return runpy.run_path(str(path))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        line = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f"{path}, line {line[-1]}" if line else path
        if isinstance(error, SwaplabError):
            raise ProgramError(f"{where}: {error}") from error
        raise InputError(where, "Python that runs", f"{type(error).__name__}: {text_of(error)}") from error


def _begin(folder: Path) -> None:
    """Have a folder be the first that is looked in for modules, and forget those of the file that was run before."""
    if _last:
        last = _last.pop()
        with suppress(ValueError):  # the program may have changed it
            sys.path.remove(str(last.folder))
        for name in last.imported():
            del sys.modules[name]
    _last.append(_Last(folder, frozenset(sys.modules)))
    sys.path.insert(0, str(folder))


def _line_in(path: Path) -> Iterator[int]:
    """Yield the line of a file that is running; nothing if a module that it imports is."""
    frame = inspect.currentframe()
    while frame and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    if frame and frame.f_code.co_filename == str(path):
        yield frame.f_lineno


def _in_variables(variables: dict[str, Any]) -> Iterator[Program[Any]]:
    seen: set[int] = set()
    for value in variables.values():
        several = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        for each in several:
            if isinstance(each, Program) and id(each) not in seen:
                seen.add(id(each))
                yield each
