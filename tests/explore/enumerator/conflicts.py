"""Which operations conflict, said once more and apart from the explorer: what its executions are counted by.

Operations conflict if they touch one variable, unless both only read it or both only add to it. Two executions with the
same operations, and the same order of those that conflict, are one (a Mazurkiewicz trace). What is touched:

- a field, an atomic, a pointer, an index of the XArray: the operation itself, as a write where it may change it;
- the object that it is part of, as a read, and as a write by kfree;
- an element of an array, a table or a bitmap: as a field. Who may add an element to a table or the XArray, or remove
  one, adds to the whole; who looks at what elements there are reads the whole;
- a percpu_ref: gets and puts add to it while nobody looks at the count, and write it from then on;
- a lock: whoever takes, tries or releases it writes it;
- read sections: whoever begins one, which the holder of a spinlock does, reads the variable `rcu`; who starts to wait
  for a grace period, or has something called after one, adds to it. The end of a section touches nothing, nor does the
  end of waiting for one, or for work: no task can tell how long somebody waits. call_rcu() adds to the variable
  `callbacks`, rcu_barrier() reads it;
- work: whoever queues or cancels it, or begins with it, writes it, and who waits for it reads it; queueing writes the
  queue besides, and who waits for all of a queue reads that;
- relax() reads again all that the task has read since its last attempt began, where a change may let it go on;
- a list: the head, and the entry; what an operation does to an entry it does to the list that it is on. The objects
  whose links it changes besides are read, as everything that kfree would end; an empty list that is spliced is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.explore.enumerator.machine import SLEEPS, State, Task, beside, variable_of

__all__ = ["Touches", "conflict", "touches"]

Touches = tuple[tuple[Any, str], ...]
READ, WRITE, ADD = "read", "write", "add"


def conflict(some: Touches, other: Touches) -> bool:
    """Tell whether two operations conflict."""
    return any(v == w and (how != also or how == WRITE) for v, how in some for w, also in other)


def touches(state: State, name: str) -> Touches:
    """Return what a task's next operation touches."""
    task = state.tasks[name]
    kind, *args = task.todo[0]
    if kind == "free":
        return ((f"{task.o if args[0] == '*' else args[0]}.", WRITE),)
    found = tuple(
        (variable_of(task, v) if isinstance(v, str) else v, how) for v, how in TOUCHES[kind](state, task, *args)
    )
    lives = {
        v.split(".")[0] + "." for v, _ in found if isinstance(v, str) and "." in v and v != "X.lock" and "/" not in v
    }
    return found + tuple((life, READ) for life in sorted(lives))


def _first(how: str) -> Callable[..., Touches]:
    return lambda _state, _task, variable, *_args: ((variable, how),)


def _always(variable: Any, how: str) -> Callable[..., Touches]:
    return lambda *_: ((variable, how),)


def _nothing(*_: object) -> Touches:
    return ()


def _take(_state: State, task: Task, lock: str) -> Touches:
    begins = lock not in SLEEPS and not task.depth
    return ((lock, WRITE), ("rcu", READ)) if begins else ((lock, WRITE),)


def _count(state: State, _task: Task) -> Touches:
    return (("ref", WRITE if state.world["ref"].is_counted else ADD),)


def _element(name: str, how: str) -> Callable[..., Touches]:
    return lambda _state, _task, at, *_args: ((f"{name}[{at}]", how),)


def _key(_state: State, _task: Task, key: int, *_args: Any) -> Touches:
    return ((f"T[{key}]", WRITE), ("T", ADD))


def _index(_state: State, _task: Task, index: int, *_args: Any) -> Touches:
    return ((index, WRITE), ("X", ADD))


def _alive(things: tuple[str, ...]) -> Touches:
    return tuple((f"{thing}.", READ) for thing in things)


def _list_of(state: State, task: Task, thing: str, how: str) -> Touches:
    head = state.world.get(variable_of(task, f"{thing}.node"))
    return ((f"{thing}.node", how), *(((head, how),) if head else ()))


def _adds(at: slice) -> Callable[..., Touches]:
    def find(state: State, task: Task, head: str, thing: str) -> Touches:
        node, *other = _list_of(state, task, thing, READ)
        return ((head, WRITE), (node[0], WRITE), *other, *_alive(state.world[head][at]))

    return find


def _deletes(state: State, task: Task, thing: str) -> Touches:
    node = variable_of(task, f"{thing}.node")
    head = state.world.get(node)
    neighbours = beside(state.world[head], node.split(".")[0]) if head else ()
    return _list_of(state, task, thing, WRITE) + _alive(neighbours)


def _moves(state: State, task: Task, head: str, thing: str) -> Touches:
    found = _deletes(state, task, thing)
    return (*found, (head, WRITE), *_alive(state.world[head][-1:])) if len(found) > 1 else found


def _splices(state: State, _task: Task, head: str, source: str) -> Touches:
    moved = state.world[source]
    if not moved:
        return ((source, READ),)
    return ((head, WRITE), (source, WRITE), *_alive((moved[0], moved[-1], *state.world[head][:1])))


def _follows(state: State, task: Task, head: str) -> Touches:
    found = _list_of(state, task, "*", READ)
    return found if len(found) > 1 else (*found, (head, READ))


TOUCHES: dict[str, Callable[..., Touches]] = {
    **dict.fromkeys(("read", "read_once", "load_acquire", "atomic_read"), _first(READ)),
    **dict.fromkeys(("write", "write_once", "store_release"), _first(WRITE)),
    **dict.fromkeys(("load_pointer", "dereference"), _always("ptr", READ)),
    "assign_pointer": _always("ptr", WRITE),
    **dict.fromkeys(("acquire", "try"), _take),
    "release": _first(WRITE),
    "atomic_add": _first(ADD),
    **dict.fromkeys(("add_return", "dec_and_test", "inc_not_zero", "cmpxchg", "try_cmpxchg", "xchg"), _first(WRITE)),
    "pointer_read": _always("p", READ),
    "pointer_cmpxchg": _always("p", WRITE),
    **dict.fromkeys(("get", "tryget", "tryget_live", "put"), _count),
    **dict.fromkeys(("kill", "count_ref", "resurrect", "to_percpu"), _always("ref", WRITE)),
    **dict.fromkeys(("is_dying", "is_switched"), _always("ref", READ)),
    "list_add": _adds(slice(0, 1)),
    "list_add_tail": _adds(slice(-1, None)),
    "list_del": _deletes,
    "list_move_tail": _moves,
    "list_splice": _splices,
    **dict.fromkeys(("list_empty", "list_first"), _first(READ)),
    "node_empty": lambda state, task, thing: _list_of(state, task, thing, READ),
    **dict.fromkeys(("list_next", "for_each_next"), _follows),
    "xa_load": _first(READ),
    "xa_for_each": _always("X", READ),
    **dict.fromkeys(("xa_store_locked", "xa_erase_locked", "xa_cmpxchg_locked"), _index),
    **dict.fromkeys(("array_read", "array_read_once", "find_at"), _element("E", READ)),
    **dict.fromkeys(("array_write", "array_write_once"), _element("E", WRITE)),
    **dict.fromkeys(("table_get", "table_get_once", "table_has"), _element("T", READ)),
    **dict.fromkeys(("table_set", "table_set_once", "table_pop"), _key),
    **dict.fromkeys(("table_keys", "table_len"), _always("T", READ)),
    "test_bit": _element("Z", READ),
    **dict.fromkeys(("set_bit", "clear_bit", "test_and_set_bit", "test_and_clear_bit"), _element("Z", WRITE)),
    "rcu_read_lock": _always("rcu", READ),
    **dict.fromkeys(("grace", "free_later"), _always("rcu", ADD)),
    "call_rcu": lambda *_: (("rcu", ADD), ("callbacks", ADD)),
    "queue_new": lambda _state, _task, queue, _body: ((queue, WRITE),),
    "queue_work": lambda _state, _task, queue, work: ((queue, WRITE), (work, WRITE)),
    "start": lambda _state, task: ((task.work, WRITE),) if task.work else (),
    **dict.fromkeys(("cancel_work", "disable_work", "enable_work"), _first(WRITE)),
    **dict.fromkeys(("look_at_work", "look_at_queue"), _first(READ)),
    "look_at_callbacks": _always("callbacks", READ),
    **dict.fromkeys(("wait", "smp_mb", "smp_rmb", "smp_wmb"), _nothing),
    "relax": lambda _state, task: tuple((variable, READ) for variable in task.watched),
}
