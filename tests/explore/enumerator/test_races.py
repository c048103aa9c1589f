"""The memory model of the enumerator says of well-known programs what Linux's says."""

from __future__ import annotations

import pytest
from tests.explore.enumerator.language import Program, Statement
from tests.explore.enumerator.orders import every_trace
from tests.explore.enumerator.races import races

READ_IT: Statement = ("if", 1, (("read", "x"),), ())
WRITE: Statement = ("write", "x", 1)
ORDERED: dict[str, Program] = {
    "a lock": ((("lock", "a", (WRITE,)),), (("lock", "a", (("read", "x"),)),)),
    "release and acquire": ((WRITE, ("store_release", "y", 1)), (("load_acquire", "y"), READ_IT)),
    "fully ordered operations": (
        (WRITE, ("add_return", "n", 1)),
        (("add_return", "n", 1), ("if", 2, (("read", "x"),), ())),
    ),
    "a grace period": (
        (("rcu", (("read_once", "y"), ("if", 0, (("read", "x"),), ()))),),
        (("write_once", "y", 1), ("synchronize_rcu",), WRITE),
    ),
    "what RCU calls": (
        (("rcu", (("read_once", "y"), ("if", 0, (("read", "x"),), ()))),),
        (("write_once", "y", 1), ("call_rcu", (WRITE,))),
    ),
    "a pointer": (
        (("write", "B.v", 2), ("assign_pointer", "B")),
        (("dereference",), ("if_object", (("read", "*.v"),), ())),
    ),
    "an object that a task has made": (
        (("new",), ("write", "*.v", 2), ("assign_pointer", "*")),
        (("dereference",), ("read", "*.v")),
    ),
    "work": ((WRITE, ("queue_new", "q", (("read", "x"),)), ("flush_new",), ("write", "x", 2)),),
    "a release that additions carry on": (
        (WRITE, ("xchg", "n", 1)),
        (("atomic_add", "n", 1),),
        (("cmpxchg", "n", 2, 0), ("if", 2, (("read", "x"),), ())),
    ),
}
UNORDERED: dict[str, Program] = {
    "nothing": ((WRITE,), (("read", "x"),)),
    "a marked read": ((WRITE,), (("read_once", "x"),)),
    "relaxed accesses": ((WRITE, ("write_once", "y", 1)), (("read_once", "y"), READ_IT)),
    "a try that fails": (
        (("lock", "a", (WRITE, ("write_once", "y", 1))),),
        (("read_once", "y"), ("if", 1, (("trylock", "a", ()), ("if", 0, (("read", "x"),), ())), ())),
    ),
    "a cmpxchg that fails": ((WRITE, ("xchg", "n", 1)), (("cmpxchg", "n", 0, 2), READ_IT)),
    "a read through no pointer": (
        (("write", "B.v", 2), ("assign_pointer", "B")),
        (("dereference",), ("if_object", (("read", "B.v"),), ())),
    ),
    "additions": ((WRITE, ("atomic_add", "n", 1)), (("atomic_read", "n"), READ_IT)),
}


def variables(program: Program) -> set[object]:
    return {variable for steps in every_trace(program, 1000).executions for variable, _ in races(steps)}


@pytest.mark.parametrize("name", ORDERED)
def test_what_orders(name: str) -> None:
    assert not variables(ORDERED[name])


@pytest.mark.parametrize("name", UNORDERED)
def test_what_does_not(name: str) -> None:
    assert variables(UNORDERED[name])
