"""The explorer and the enumerator agree on random programs, however their tasks are named."""

from __future__ import annotations

from random import Random

import pytest
from tests.explore.enumerator.compare import compare, every_naming
from tests.explore.enumerator.generate import THEMES, random_program
from tests.explore.enumerator.language import Program, Statement, line, read_line
from tests.explore.enumerator.orders import TooMany

PROGRAMS = 10
NAMINGS_MAX = 6
STATES_MAX = 500


COUNT: Statement = ("loop", (("atomic_read", "n"), ("try_cmpxchg", "n", ("+", 0), ("+", 1))), 1)
READ_X, READ_Y, READ_V = ("read_once", "x"), ("read_once", "y"), ("read_once", "A.v")
NAMED: dict[str, Program] = {
    "straight lines": (
        (("write_once", "x", 1),),
        (("write_once", "A.v", 1),),
        (READ_Y, READ_X, READ_V),
        (READ_V, READ_V, READ_V, ("write_once", "y", 1)),
    ),
    "a try-lock": (
        (("write_once", "y", 1),),
        (READ_Y,),
        (("trylock", "b", (("write_once", "y", 1),)),),
        (("lock", "b", ()),),
    ),
    "a task that is gone": (
        (("trylock", "A.l", (("read", "y"), ("write", "y", ("+", 1)))),),
        (("lock", "a", (("read", "x"), ("write", "x", ("+", 1)), ("lock", "m", ()))),),
        (("lock", "b", ()), ("read", "x"), ("write", "x", ("+", 1))),
        (("write", "y", 1), ("trylock", "A.l", (("read", "x"),))),
    ),
    "what RCU calls": (
        (READ_X, ("write_once", "x", 2)),
        (("write_once", "A.v", 0), READ_X),
        (READ_X, ("call_rcu", (("load_pointer",),))),
        (
            ("load_pointer",),
            ("kfree_rcu", "*"),
            ("call_rcu", (("if_object", (("write_once", "*.v", 1),), ()),)),
        ),
    ),
    "either of two wakes it": (
        (("tries", 2, (READ_X, ("if", 0, (READ_Y,), ())), 1), READ_X),
        (("write_once", "x", 1),),
        (("write_once", "y", 1),),
    ),
    "two count up": ((COUNT,), (COUNT,)),
    "three count up": ((COUNT,), (COUNT,), (COUNT,)),
    "a seqcount": (
        (("loop", (("atomic_read", "n"), READ_X, ("atomic_read", "n"), ("same", 3)), 1),),
        (("add_return", "n", 1), ("write_once", "x", 1), ("add_return", "n", 1)),
    ),
    "a field is read twice": ((("loop", (READ_X, READ_X), 1),), (("write_once", "x", 1),)),
    "what was read before has changed": (
        (("loop", (READ_X, READ_Y, READ_X), 1),),
        (("write_once", "y", 1), ("write_once", "x", 1)),
    ),
    "a reference is resurrected": ((("kill",), ("resurrect",)), (("loop", (("tryget_live",),), 1),)),
    "a try-lock beside a grace period": (
        (("trylock", "a", ()),),
        (("loop", (("trylock", "a", ()),), 1),),
        (("synchronize_rcu",),),
    ),
    "nobody is left to change it": ((("loop", (READ_X,), 1),), (("write_once", "y", 1),)),
}


def namings(program: Program, seed: int) -> list[tuple[int, ...]]:
    found = every_naming(program)
    return found if len(found) <= NAMINGS_MAX else Random(seed).sample(found, NAMINGS_MAX)  # noqa: S311


@pytest.mark.parametrize("theme", THEMES)
def test_they_agree(theme: str) -> None:
    compared = 0
    for seed in range(PROGRAMS):
        program = random_program(theme, seed)
        try:
            found = compare(program, namings(program, seed), STATES_MAX)
        except TooMany:
            continue
        compared += 1
        assert not found.differences, "\n".join([f"{theme} {seed}", *found.differences])
    assert compared >= PROGRAMS // 2


@pytest.mark.parametrize("name", NAMED)
def test_they_agree_on_what_was_once_missed(name: str) -> None:
    """Every order of naming the tasks; that these are wrong in some only is what made them hard to see."""
    found = compare(NAMED[name], every_naming(NAMED[name]))
    assert not found.differences, "\n".join(found.differences)


def test_what_is_stuck_and_what_is_not() -> None:
    stuck = {name for name, program in NAMED.items() if compare(program, []).violations == {"stuck in a retry loop"}}
    assert stuck == {"nobody is left to change it"}


@pytest.mark.parametrize("theme", THEMES)
def test_a_line_reproduces_a_program(theme: str) -> None:
    program = random_program(theme, 1)
    assert read_line(line(program)) == program
    assert random_program(theme, 2) != program
