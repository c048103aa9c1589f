"""The programs in a Python file of a user's."""

from __future__ import annotations

import ast
import runpy
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from typing import Any

from swaplab.errors import InputError, SwaplabError
from swaplab.explore import Program, ProgramError
from swaplab.explore.guard import refusing_exit

__all__ = ["programs_of"]

_beside: list[Path] = []
"""The directory whose modules the file that was run last may import."""


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


def _run(path: Path) -> dict[str, Any]:
    try:
        with refusing_exit(), _as_script(path):
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


@contextmanager
def _as_script(path: Path) -> Iterator[None]:
    """Have the directory of a file be the first that is looked in for modules, and forget those of another's."""
    folder = path.resolve().parent
    if _beside and _beside[-1] != folder:
        sys.path.remove(str(_beside[-1]))
        for name, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or "/").parent == _beside[-1]:
                del sys.modules[name]
        _beside.clear()
    if not _beside:
        _beside.append(folder)
        sys.path.insert(0, str(folder))
    yield


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
