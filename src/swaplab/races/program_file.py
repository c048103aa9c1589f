"""The programs in a Python file of a user's."""

from __future__ import annotations

import ast
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
from swaplab.explore.guard import refusing_exit

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
    """Run a file, and return the programs it leaves in its variables, or in lists and tuples there, in order.

    As with any script, modules beside it can be imported. The controls of others are not among what is returned.

    Raises:
        InputError: there is no such file, it fails, has no program, or has programs that cannot be told apart.
        ProgramError: one of its programs could not be run.
    """
    if not path.is_file():
        raise InputError(path, "a Python file", "no such file")
    found = list(_in_variables(_run(path)))
    if not found:
        raise InputError(path, "a variable that is a swaplab.Program, or a list of them", "none")
    controls = [program.control for program in found]
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
        with refusing_exit():
            variables = runpy.run_path(str(path))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        line = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f"{path}, line {line[-1]}" if line else path
        if isinstance(error, SwaplabError):
            raise ProgramError(f"{where}: {error}") from error
        raise InputError(where, "Python that runs", f"{type(error).__name__}: {error}") from error
    _insist_on_one_binding(path, variables)
    return variables


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


def _in_variables(variables: dict[str, Any]) -> Iterator[Program[Any]]:
    seen: set[int] = set()
    for value in variables.values():
        for each in value if isinstance(value, list | tuple) else [value]:
            if isinstance(each, Program) and id(each) not in seen:
                seen.add(id(each))
                yield each


def _insist_on_one_binding(path: Path, variables: dict[str, Any]) -> None:
    """Refuse a program in a variable that had another value before: if that was a program, nobody would run it.

    Raises:
        InputError: there is one.
    """
    lines: dict[str, list[int]] = {}
    for statement in ast.parse(path.read_bytes()).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        for target in targets:
            if isinstance(target, ast.Name):
                lines.setdefault(target.id, []).append(statement.lineno)
    for name, bound in lines.items():
        if len(bound) > 1 and isinstance(variables.get(name), Program):
            raise InputError(
                f"{path}, line {bound[-1]}",
                "a variable for each program",
                f"{name}, which line {bound[0]} binds too",
            )
