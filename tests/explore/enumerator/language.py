"""A language of small programs over every primitive of kernel/sync. A program is data: one line that can be read back.

A program is a tuple of tasks, a task a tuple of statements, a statement a tuple of its name and arguments. A task has
four registers: the last value `r`, the last object `o`, the last work `w`, and all values that it has seen.

What there is, for all tasks to share:

    x y             fields                          a b      spinlocks          n k    atomics
    ptr             a field that points at objects  m        a mutex            p      a Pointer
    H G             lists                           q u      work queues        ref    a PercpuRef
    X               an XArray                       A B      objects
    E               an Array of two bytes           T        a Table            Z      a Bitmap of two bits
    W               work, see `WORK`

and of an object: `A.v`, a field; `A.l`, a spinlock; `A.c`, an atomic; `A.node`, its place on a list; `A.w`, work.
`*` is the object in `o`; one that a task has made is called after that task. Values are numbers, or ("+", 1) for one
more than `r`; objects are names, `*`, or None. Inside what a queue or RCU calls, `o` is at first what it was when that
was deferred, and `r` is 0.

    ("read", v) ("read_once", v) ("load_acquire", v) ("write", v, value) ("write_once", ...) ("store_release", ...)
    ("smp_mb",) ("smp_rmb",) ("smp_wmb",)
    ("load_pointer",) ("dereference",) ("assign_pointer", object)      of `ptr`: READ_ONCE, rcu_dereference, ...
    ("lock", l, body) ("trylock", l, body) ("acquire", l) ("release", l)          a try has seen 1 or 0
    ("atomic_read", n) ("atomic_add", n, d) ("add_return", n, d) ("dec_and_test", n) ("inc_not_zero", n)
    ("cmpxchg", n, old, new) ("try_cmpxchg", n, old, new) ("xchg", n, value)       a try has seen 1 or 0
    ("pointer_read",) ("pointer_cmpxchg", old, new)
    ("get",) ("tryget",) ("tryget_live",) ("put",) ("kill",) ("resurrect",) ("is_dying",)
    ("list_add", h, object) ("list_add_tail", ...) ("list_move_tail", ...) ("list_del", object)
    ("list_empty", h) ("node_empty", object) ("list_first", h) ("list_next", h) ("list_splice", h, g)
    ("xa_load", i) ("xa_store", i, object) ("xa_erase", i) ("xa_cmpxchg", i, old, new)
    ("xa_for_each",)
    ("array_read", i) ("array_read_once", i) ("array_write", i, value) ("array_write_once", ...) ("array_find", number)
    ("table_get", key) ("table_get_once", key) ("table_set", key, value) ("table_set_once", ...) ("table_pop", key)
    ("table_has", key) ("table_keys",) ("table_len",)                         an absent element is seen as -1
    ("set_bit", i) ("clear_bit", i) ("test_bit", i) ("test_and_set_bit", i) ("test_and_clear_bit", i)
    ("rcu", body) ("synchronize_rcu",) ("call_rcu", body) ("kfree_rcu", object) ("kfree", object)
    ("rcu_barrier",) ("new",)
    ("queue_new", q, body) ("flush_new",)                      of work that the statement makes, which is then in `w`
    ("queue_work", q, w) ("cancel_work", w) ("cancel_work_sync", w) ("flush_work", w) ("flush_workqueue", q)
    ("one",)                                `r` is 1
    ("same", back)                          `r` is 1 if the last value seen is the one `back` from the end, else 0
    ("if", value, then, otherwise)         on `r`          ("if_object", then, otherwise)      on `o`
    ("loop", body, value)                  until `r` is that, with relax() in between; only the last attempt is seen
    ("tries", n, body, value)              the same at most n times, all of which are seen
    ("walk", h, n, body)                   over a list, at most n entries, by list_first_entry and list_next_entry
    ("for_each", h, body)                  list_for_each_entry
"""

from __future__ import annotations

from ast import literal_eval
from typing import Any

__all__ = ["WORK", "Body", "Program", "Statement", "line", "read_line"]

Statement = tuple[Any, ...]
Body = tuple[Statement, ...]
Program = tuple[Body, ...]


WORK: dict[str, Body] = {
    "W": (("read_once", "x"), ("write_once", "y", ("+", 1))),
    "A.w": (("add_return", "A.c", 1),),
    "B.w": (("add_return", "B.c", 1),),
}
"""What the work does that is no part of a statement."""


def line(program: Program) -> str:
    """Return the line that reproduces a program."""
    return repr(program)


def read_line(text: str) -> Program:
    """Return the program of a line."""
    program: Program = literal_eval(text)
    return program
