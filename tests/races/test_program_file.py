"""Files of programs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.test_check import RACE

from swaplab.errors import InputError
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


LOST = "program(without_lock)"
KEPT = "kept = program(with_lock)"


@pytest.mark.parametrize(
    "text",
    [
        f"p = {LOST}; p = program(with_lock)",
        f"for p in [{LOST}, program(with_lock)]: pass",
        f"p: object = {LOST}; p: object = program(with_lock)",
        f"ps = [{LOST}]; ps = [program(with_lock)]",
        f"p = {LOST}; exec('def p(): pass'); {KEPT}",
        f"p, q = {LOST}, program(with_lock); p, q = q, q",
        f"p = {LOST}; del p; {KEPT}",
        f"p = [[{LOST}]]; {KEPT}",
        f"class K: p = {LOST}",
        LOST,
        f"{KEPT}; kept = Program('other', Counter, {{'A': with_lock}})",
    ],
)
def test_a_program_that_nobody_would_run(tmp_path: Path, text: str) -> None:
    (path := tmp_path / "lost.py").write_text(f"{RACE}\n\n{text}\n")
    with pytest.raises(
        InputError, match=r"a variable for each program, or a list or dict of them, found with"
    ) as found:
        programs_of(path)
    assert f"{path}, line 28" in str(found.value)


def test_programs_that_are_kept(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text(f"{RACE}\nhere = {LOST}\nhere = {LOST}\n")
    (path := tmp_path / "kept.py").write_text(
        f"from beside import *\nseveral = {{'one': program(with_lock, {LOST}), 'other': here}}\nother = here\n"
    )
    with pytest.raises(InputError, match="2 of the name 'without_lock'"):
        programs_of(path)
    path.write_text(path.read_text().replace(f", {LOST}", ""))
    assert [program.name for program in programs_of(path)] == ["without_lock", "with_lock"]


def test_an_exception_that_does_not_say_what_it_is(tmp_path: Path) -> None:
    (path := tmp_path / "raises.py").write_text("class Odd(Exception):\n    __str__ = None\n\nraise Odd\n")
    with pytest.raises(InputError, match=r"raises.py, line 4: .*, found Odd: something of"):
        programs_of(path)
