"""Files of programs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.test_check import RACE

from swaplab.explore import ProgramError
from swaplab.races.program_file import programs_of


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("Program(3, Counter, {'A': with_lock})", "expected of a program's name a text, found 3"),
        ("Program('', Counter, {'A': with_lock})", "expected of a program's name a text, found ''"),
        (
            "Program('mine', Counter(), {'A': with_lock})",
            "mine: expected of setup a function that takes nothing, found",
        ),
        (
            "Program('mine', with_lock, {'A': with_lock})",
            "found with_lock (FILE, line 14): missing a required argument",
        ),
        ("Program('mine', Counter, [with_lock])", "mine: expected of tasks a mapping from names to functions, found"),
        ("Program('mine', Counter, {1: with_lock})", "mine: expected of tasks a mapping whose keys are texts, found 1"),
        ("Program('mine', Counter, {'A': 7})", "mine: expected of task A a function that takes the system, found 7"),
        (
            "Program('mine', Counter, {'A': lambda: None})",
            "expected of task A a function that takes the system, found <lambda> (FILE, line 28): too many positional",
        ),
        ("Program('mine', Counter, {'A': lambda a, b: None})", "found <lambda> (FILE, line 28): missing a required"),
        ("Program('mine', Counter, {'A': with_lock}, [len])", "mine: expected of invariants a mapping from names"),
        (
            "Program('mine', Counter, {'A': with_lock}, {1: len})",
            "mine: expected of invariants a mapping whose keys are",
        ),
        ("Program('mine', Counter, {'A': with_lock}, {'z': True})", 'expected of invariant "z" a function that takes'),
        ("Program('mine', Counter, {'A': with_lock}, {'z': lambda: True})", "found <lambda> (FILE, line 28): too many"),
        ("Program('mine', Counter, {'A': with_lock}, {'z': lambda a, b, c: True})", "missing a required argument: 'c'"),
        (
            "program(with_lock, without_lock)",
            "with_lock: expected of control a Program without one, found without_lock",
        ),
        ("program(with_lock, program(with_lock, program(without_lock)))", "found a program with one, with_lock"),
    ],
)
def test_programs_that_could_not_be_run(tmp_path: Path, made: str, message: str) -> None:
    (path := tmp_path / "wrong.py").write_text(f"{RACE}\n\nx = {made}\n")
    with pytest.raises(ProgramError) as found:
        programs_of(path)
    assert str(found.value).startswith(f"{path}, line 2")
    assert message.replace("FILE", str(path)) in str(found.value)
    assert " at 0x" not in str(found.value)
