"""Random programs by theme. A program follows from its theme and its seed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.explore.enumerator.language import Body, Program, Statement

__all__ = ["THEMES", "random_program"]

LENGTHS = {2: 6, 3: 4, 4: 3}
"""Statements of a task at most, by the number of tasks."""
FIELDS = ("x", "y", "x", "y", "A.v")


class _Generator:
    """Draws the statements of one program."""

    def __init__(self, theme: str, seed: int) -> None:
        self.random = Random(f"{theme} {seed}")  # noqa: S311
        self.theme = THEMES[theme]

    def program(self) -> Program:
        tasks = self.random.choice((2, 2, 3, 3, 3, 4))
        return tuple(self.body(self.random.randint(1, LENGTHS[tasks]), 0) for _ in range(tasks))

    def body(self, length: int, depth: int) -> Body:
        """So many statements at most, inside so many blocks."""
        statements: list[Statement] = []
        while length > 0:
            name = self.random.choice(self.theme)
            if name in BLOCKS:
                if depth > 1:
                    continue
                inner = self.random.randint(0 if name in LOCKS else 1, min(length, 3))
                statements += BLOCKS[name](self, self.body(inner, depth + 1))
                length -= inner + 1
            else:
                statements += SIMPLE[name](self)
                length -= 1
        return tuple(statements)

    def field(self) -> str:
        return self.random.choice(FIELDS)

    def number(self) -> int:
        return self.random.choice((0, 1, 1, 2))

    def lock(self) -> str:
        return self.random.choice(("a", "a", "b", "m", "A.l"))

    def atomic(self) -> str:
        return self.random.choice(("n", "n", "k", "A.c"))

    def head(self) -> str:
        return self.random.choice("HHG")

    def thing(self) -> str:
        return self.random.choice("AAB")

    def target(self) -> str | None:
        return self.random.choice(("A", "B", None))

    def queue(self) -> str:
        return self.random.choice("qqu")

    def work(self) -> str:
        return self.random.choice(("W", "W", "A.w"))

    def index(self) -> int:
        return self.random.choice((0, 0, 1))


def _if(g: _Generator, body: Body) -> Body:
    otherwise = g.body(1, 2) if g.random.random() < 0.3 else ()
    return (("if", g.random.choice((0, 0, 1)), body, otherwise),)


def _retry(g: _Generator) -> Body:
    """Count up by cmpxchg, as often as it takes."""
    n = g.atomic()
    return (("loop", (("atomic_read", n), ("try_cmpxchg", n, ("+", 0), ("+", 1))), 1),)


def _spin(g: _Generator) -> Body:
    """Wait for one field, with a look at others before or afterwards."""
    reads: list[Statement] = [(g.random.choice(READS), g.field()) for _ in range(g.random.choice((1, 1, 2, 3)))]
    return (("loop", tuple(reads), 1),)


def _spin_locked(g: _Generator) -> Body:
    return (("loop", (("lock", g.random.choice("ab"), (("read_once", g.field()),)),), 1),)


def _spin_for_lock(g: _Generator) -> Body:
    lock = g.random.choice("ab")
    body = g.body(1, 2) if g.random.random() < 0.5 else ()
    return (("loop", (("trylock", lock, (*body, ("one",))),), 1),)


def _seqcount(g: _Generator) -> Body:
    read = g.field()
    return (("loop", (("atomic_read", "n"), ("read_once", read), ("atomic_read", "n"), ("same", 3)), 1),)


def _seqcount_write(g: _Generator) -> Body:
    return ("add_return", "n", 1), ("write_once", g.field(), 1), ("add_return", "n", 1)


def _tries(g: _Generator) -> Body:
    body: Body = tuple((g.random.choice(READS), g.field()) for _ in range(g.random.choice((1, 2))))
    if g.random.random() < 0.3:
        body = (*body[:1], ("if", 0, body[1:] or (("atomic_read", "n"),), ()))
    return (("tries", 2, body, 1),)


def _walk(g: _Generator) -> Body:
    look: Body = (("read_once", "*.v"),) if g.random.random() < 0.7 else ()
    walk = g.random.choice((("walk", g.head(), 3, look), ("for_each", g.head(), look)))
    return (("lock", "a", (walk,)),) if g.random.random() < 0.7 else (walk,)


def _under_lock(statement: Callable[[_Generator], Statement]) -> Callable[[_Generator], Body]:
    """Most often under one lock, so that not every program breaks at once."""

    def make(g: _Generator) -> Body:
        return (("lock", "a", (statement(g),)),) if g.random.random() < 0.6 else (statement(g),)

    return make


def _nested(g: _Generator) -> Body:
    """Two spinlocks, one inside the other, in any order; two of one class at times."""
    first, second = g.random.sample(("a", "b", "A.l", "B.l"), 2)
    return (("lock", first, (("lock", second, ()),)),)


def _send(g: _Generator) -> Body:
    """Store something plainly, then say so, in one of the ways to do that, right or wrong."""
    say = g.random.choice(
        (
            ("write_once", "y", 1),
            ("store_release", "y", 1),
            ("xchg", "n", 1),
            ("atomic_add", "n", 1),
            ("add_return", "n", 1),
        )
    )
    return (("write", "x", 1), *_maybe_barrier(g), say)


def _receive(g: _Generator) -> Body:
    """Hear of it, then look at it."""
    hear = g.random.choice(
        (("read_once", "y"), ("load_acquire", "y"), ("atomic_read", "n"), ("xchg", "n", 2), ("cmpxchg", "n", 1, 2))
    )
    look = g.random.choice((("read", "x"), ("write", "x", 2)))
    return hear, ("if", 1, (*_maybe_barrier(g), look, *_maybe_pass_on(g)), ())


def _maybe_barrier(g: _Generator) -> Body:
    return (SIMPLE["barrier"](g)) if g.random.random() < 0.4 else ()


def _maybe_pass_on(g: _Generator) -> Body:
    return (
        (g.random.choice((("write_once", "A.v", 1), ("store_release", "A.v", 1))),) if g.random.random() < 0.4 else ()
    )


READS = ("read_once", "read_once", "load_acquire")
LOCKS = ("lock", "trylock")
BLOCKS: dict[str, Callable[[_Generator, Body], Body]] = {
    "lock": lambda g, body: (("lock", g.lock(), body),),
    "trylock": lambda g, body: (("trylock", g.lock(), body),),
    "if": _if,
    "rcu": lambda g, body: (("rcu", body),),
    "call_rcu": lambda g, body: (("call_rcu", body),),
    "queue_new": lambda g, body: (("queue_new", g.queue(), body),),
    "if-object": lambda g, body: (("if_object", body, ()),),
}
SIMPLE: dict[str, Callable[[_Generator], Body]] = {
    "read_once": lambda g: (("read_once", g.field()),),
    "load_acquire": lambda g: (("load_acquire", g.field()),),
    "write_once": lambda g: (("write_once", g.field(), g.number()),),
    "store_release": lambda g: (("store_release", g.field(), g.number()),),
    "nested": _nested,
    "send": _send,
    "receive": _receive,
    "barrier": lambda g: ((g.random.choice(("smp_mb", "smp_rmb", "smp_wmb")),),),
    "read": lambda g: (("read", g.field()),),
    "write": lambda g: (("write", g.field(), g.number()),),
    "increment": lambda g: (("read", v := g.field()), ("write", v, ("+", 1))),
    "acquire": lambda g: (("acquire", g.lock()),),
    "release": lambda g: (("release", g.lock()),),
    "atomic_read": lambda g: (("atomic_read", g.atomic()),),
    "atomic_add": lambda g: (("atomic_add", g.atomic(), g.random.choice((1, 1, -1))),),
    "add_return": lambda g: (("add_return", g.atomic(), g.random.choice((1, -1))),),
    "dec_and_test": lambda g: (("dec_and_test", g.atomic()),),
    "inc_not_zero": lambda g: (("inc_not_zero", g.atomic()),),
    "cmpxchg": lambda g: (("cmpxchg", g.atomic(), g.random.choice((0, 1)), g.number()),),
    "xchg": lambda g: (("xchg", g.atomic(), g.number()),),
    "load-pointer": lambda g: ((g.random.choice(("load_pointer", "dereference")),),),
    "assign_pointer": lambda g: (("assign_pointer", g.target()),),
    "pointer_read": lambda g: (("pointer_read",),),
    "pointer_cmpxchg": lambda g: (("pointer_cmpxchg", g.target(), g.target()),),
    "use": lambda g: (
        (
            "if_object",
            (g.random.choice((("read_once", "*.v"), ("write_once", "*.v", 1), ("add_return", "*.c", 1))),),
            (),
        ),
    ),
    "use-plainly": lambda g: (("if_object", (g.random.choice((("read", "*.v"), ("write", "*.v", 1))),), ()),),
    "use-unchecked": lambda g: (("read_once", "*.v"),),
    "publish": lambda g: (g.random.choice((("assign_pointer", "*"), ("pointer_cmpxchg", None, "*"))),),
    "get": lambda g: (("get",),),
    "tryget": lambda g: (("tryget",),),
    "tryget-put": lambda g: (("tryget",), ("if", 1, (("put",),), ())),
    "tryget_live": lambda g: (("tryget_live",),),
    "put": lambda g: (("put",),),
    "kill": lambda g: (("kill",),),
    "resurrect": lambda g: (("resurrect",),),
    "is_dying": lambda g: (("is_dying",),),
    "link": _under_lock(lambda g: (g.random.choice(("list_add", "list_add_tail")), g.head(), g.thing())),
    "link-if-unlinked": lambda g: (
        ("lock", "a", (("node_empty", thing := g.thing()), ("if", 1, (("list_add", g.head(), thing),), ()))),
    ),
    "unlink-if-linked": lambda g: (
        ("lock", "a", (("node_empty", thing := g.thing()), ("if", 0, (("list_del", thing),), ()))),
    ),
    "move": _under_lock(lambda g: ("list_move_tail", g.head(), g.thing())),
    "unlink": _under_lock(lambda g: ("list_del", g.thing())),
    "list_empty": lambda g: (("list_empty", g.head()),),
    "node_empty": lambda g: (("node_empty", g.thing()),),
    "list_first": lambda g: (("list_first", g.head()),),
    "splice": _under_lock(
        lambda g: ("list_splice", "H", "G") if g.random.random() < 0.5 else ("list_splice", "G", "H")
    ),
    "walk": _walk,
    "xa_load": lambda g: (("xa_load", g.index()),),
    "xa_store": lambda g: (("xa_store", g.index(), g.thing()),),
    "xa_erase": lambda g: (("xa_erase", g.index()),),
    "xa_cmpxchg": lambda g: (("xa_cmpxchg", g.index(), g.target(), g.target()),),
    "xa_for_each": lambda g: (("xa_for_each",),),
    "array_read": lambda g: ((g.random.choice(("array_read", "array_read_once")), g.index()),),
    "array_write": lambda g: ((g.random.choice(("array_write", "array_write_once")), g.index(), g.number()),),
    "array_increment": lambda g: (("array_read", at := g.index()), ("array_write", at, ("+", 1))),
    "array_find": lambda g: (("array_find", g.number()),),
    "table_get": lambda g: ((g.random.choice(("table_get", "table_get_once", "table_has")), g.index()),),
    "table_set": lambda g: ((g.random.choice(("table_set", "table_set_once")), g.index(), g.number()),),
    "table_pop": lambda g: (("table_pop", g.index()),),
    "table_keys": lambda g: ((g.random.choice(("table_keys", "table_len")),),),
    "change_bit": lambda g: ((g.random.choice(("set_bit", "clear_bit")), g.index()),),
    "test_bit": lambda g: ((g.random.choice(("test_bit", "test_and_set_bit", "test_and_clear_bit")), g.index()),),
    "synchronize_rcu": lambda g: (("synchronize_rcu",),),
    "kfree_rcu": lambda g: (("kfree_rcu", g.thing()),),
    "kfree_rcu-it": lambda g: (("kfree_rcu", "*"),),
    "kfree": lambda g: (("kfree", g.thing()),),
    "kfree-it": lambda g: (("kfree", "*"),),
    "flush_new": lambda g: (("flush_new",),),
    "queue_work": lambda g: (("queue_work", g.queue(), g.work()),),
    "cancel_work": lambda g: ((g.random.choice(("cancel_work", "cancel_work_sync")), g.work()),),
    "flush_work": lambda g: (("flush_work", g.work()),),
    "flush_workqueue": lambda g: (("flush_workqueue", g.queue()),),
    "rcu_barrier": lambda g: (("rcu_barrier",),),
    "new": lambda g: (("new",),),
    "retry": _retry,
    "spin": _spin,
    "spin-locked": _spin_locked,
    "spin-for-lock": _spin_for_lock,
    "seqcount": _seqcount,
    "seqcount-write": _seqcount_write,
    "tries": _tries,
}
_THEMES = {
    "races": (
        "read read write write write read_once write_once load_acquire store_release if if lock trylock add_return "
        "cmpxchg atomic_add atomic_read xchg inc_not_zero rcu synchronize_rcu call_rcu queue_new queue_work flush_work "
        "flush_new load-pointer use-plainly use-plainly assign_pointer pointer_read pointer_cmpxchg publish new"
    ),
    "barriers": (
        "read write write read_once read_once write_once write_once load_acquire store_release barrier barrier barrier "
        "atomic_read atomic_add xchg if load-pointer assign_pointer use-plainly"
    ),
    "messages": "send receive receive read write_once barrier",
    "fields": "read_once read_once load_acquire write_once store_release read write increment if",
    "straight": "read_once read_once read_once write_once",
    "locks": "read write increment lock lock lock trylock if",
    "nesting": "nested nested lock trylock write_once",
    "trylocks": "read_once read_once write_once write_once trylock trylock trylock lock if",
    "unbalanced": "read_once read_once write_once write_once acquire release release lock trylock",
    "atomics": "atomic_read atomic_add atomic_add add_return dec_and_test inc_not_zero cmpxchg xchg if lock",
    "pointers": (
        "load-pointer load-pointer assign_pointer pointer_read pointer_cmpxchg use use use-unchecked if-object lock"
    ),
    "references": "get tryget tryget-put tryget_live put put kill resurrect is_dying if",
    "lists": (
        "link link-if-unlinked link-if-unlinked unlink-if-linked move unlink list_empty node_empty list_first "
        "splice walk"
    ),
    "linked": (
        "link link-if-unlinked link-if-unlinked unlink-if-linked unlink-if-linked move splice list_first kfree kfree"
    ),
    "free": (
        "read_once read_once write_once write_once kfree load-pointer use assign_pointer kfree-it lock if atomic_add"
    ),
    "rcu": "read_once read_once write_once write_once rcu rcu rcu synchronize_rcu lock if",
    "grace": "read read write write read_once write_once rcu rcu rcu synchronize_rcu synchronize_rcu call_rcu if",
    "callbacks": (
        "read_once read_once write_once write_once rcu rcu call_rcu kfree_rcu kfree_rcu-it load-pointer use "
        "assign_pointer synchronize_rcu "
        "rcu_barrier rcu_barrier"
    ),
    "elements": "array_read array_write array_increment array_find change_bit test_bit test_bit lock if",
    "tables": "table_get table_set table_set table_set table_pop table_keys table_keys if",
    "xarray": "xa_load xa_load xa_for_each xa_store xa_erase xa_cmpxchg use if-object rcu kfree_rcu-it",
    "work": (
        "read_once read_once write_once write_once queue_new queue_new queue_new flush_new flush_workqueue lock "
        "atomic_add"
    ),
    "items": (
        "read_once write_once queue_work queue_work queue_work queue_work cancel_work cancel_work flush_work "
        "flush_workqueue queue_new if kfree"
    ),
    "relax": (
        "write_once write_once read_once retry spin spin-locked spin-for-lock seqcount seqcount-write tries tries lock"
    ),
    "made": (
        "new new publish publish load-pointer pointer_read use use kfree-it kfree_rcu-it assign_pointer if-object rcu"
    ),
}
THEMES = {theme: names.split() for theme, names in _THEMES.items()}
THEMES["all"] = sorted({name for names in THEMES.values() for name in names} - {"acquire", "release", "use-unchecked"})


def random_program(theme: str, seed: int) -> Program:
    """Return a program of a theme."""
    return _Generator(theme, seed).program()
