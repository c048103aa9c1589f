"""What each primitive does, as functions from a state to the next: a small model that shares nothing with the explorer.

A task is rewritten while it runs: what it still has to do is a tuple of statements, whose first is the operation that
it is about to do; a branch becomes one of its bodies, a loop its body and itself again. Nothing else is remembered of
where a task is, so states are equal if and only if their futures are.

A task that meets a bug is gone, with its locks and in its read sections; the others go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.explore.enumerator.language import WORK, Body, Program, Statement

__all__ = [
    "FIRST",
    "SLEEPS",
    "State",
    "Taken",
    "Task",
    "able",
    "begin",
    "beside",
    "ending",
    "is_cyclic",
    "is_over",
    "step",
    "variable_of",
]

FIRST: dict[Any, Any] = {
    "x": 0, "y": 0, "ptr": "A", "a": None, "b": None, "m": None, "n": 0, "k": 1, "p": None, "H": (), "G": (),
    "X.lock": None, "E[0]": 0, "E[1]": 0, "T[0]": None, "T[1]": None, "T": (), "Z[0]": 0,
    "Z[1]": 0, 0: None, 1: None, "q": (), "u": (), "orders": frozenset(),
}  # fmt: skip
"""The world at first. Of a lock there is its holder, of a queue all that was queued, of the XArray an item by index."""
SLEEPS = ("m",)


class Task(NamedTuple):
    """A task between two operations.

    Attributes:
        todo: what it still has to do, the next operation first.
        r, o, w: the last value, object and work.
        seen: all values.
        held: locks, in the order they were taken.
        depth: spinlocks and read sections that it is in.
        watched: what it has read since its last attempt began.
        changed: whether another task has changed any of that since it was read.
        readers: tasks whose present read sections it waits for.
        ends: tasks that it waits for.
        work: which it does, none for what does no work.
        made, deferred: objects and tasks that it has made.
        is_callback: whether RCU has called it back, where nothing may sleep.
        counts: whether rcu_barrier() waits for it.
        bug: what it has met.
    """

    todo: Body
    r: int = 0
    o: str | None = None
    w: str | None = None
    seen: tuple[Any, ...] = ()
    held: tuple[str, ...] = ()
    depth: int = 0
    watched: frozenset[Any] = frozenset()
    changed: bool = False
    readers: frozenset[str] = frozenset()
    ends: frozenset[str] = frozenset()
    work: str | None = None
    made: int = 0
    deferred: int = 0
    is_callback: bool = False
    counts: bool = False
    bug: str | None = None

    @property
    def is_atomic(self) -> bool:
        """Whether it must not sleep."""
        return bool(self.depth or self.is_callback)


class Bug(Exception):  # noqa: N818
    """What a task has met; its text is the kind."""


class State:
    """All tasks and the world."""

    __slots__ = ("tasks", "world")

    def __init__(self, tasks: dict[str, Task], world: dict[Any, Any]) -> None:
        self.tasks = tasks
        self.world = world

    @property
    def key(self) -> object:
        """Equal for equal states."""
        return frozenset(self.tasks.items()), frozenset(self.world.items())

    @property
    def bugs(self) -> list[str]:
        """What tasks have met."""
        return [task.bug for task in self.tasks.values() if task.bug]


class Taken(NamedTuple):
    """A step of an execution: who took it, and the states before and after."""

    name: str
    before: State
    after: State


def begin(program: Program) -> State:
    """Return the first state of a program."""
    world = {**FIRST, "ref": Ref(), "W": Item(), **_object("A"), **_object("B")}
    state = State({f"t{number}": Task(body) for number, body in enumerate(program)}, world)
    for name in list(state.tasks):
        _settle(state, name)
    return state


def _object(name: str) -> dict[str, Any]:
    return {
        f"{name}.": True,
        f"{name}.v": 0,
        f"{name}.l": None,
        f"{name}.c": 0,
        f"{name}.node": None,
        f"{name}.w": Item(),
    }


def able(state: State) -> list[str]:
    """Return the tasks whose next operation can be done now."""
    return [name for name, task in state.tasks.items() if task.todo and not task.bug and _can(state, task)]


def is_over(task: Task) -> bool:
    """Tell whether a task does nothing any more."""
    return not task.todo or task.bug is not None


def _can(state: State, task: Task) -> bool:
    operation = task.todo[0]
    if operation[0] == "acquire":
        return state.world[variable_of(task, operation[1])] is None
    if operation[0] == "relax":
        return task.changed
    if operation[0] in ("wait", "start"):
        return not task.readers and all(is_over(state.tasks[each]) for each in task.ends)
    return True


def ending(state: State) -> list[str]:
    """Return the kinds of bugs that it is that nobody can go on in this state.

    After another bug it matters only who waits in a circle: others may wait for a task that is gone.
    """
    waiting = [task for task in state.tasks.values() if task.todo and not task.bug]
    if state.bugs:
        return ["deadlock"] * any(_waits_for_itself(state, name) for name in state.tasks)
    if not waiting:
        return ["leak"] * len(_lost(state.world))
    return ["stuck in a retry loop" if any(task.todo[0][0] == "relax" for task in waiting) else "deadlock"]


def _waits_for_itself(state: State, name: str) -> bool:
    """Tell whether a task waits for a lock that it holds itself, or somebody who waits for it."""
    met: set[str] = set()
    holder: str | None = name
    while holder and holder not in met:
        met.add(holder)
        task = state.tasks[holder]
        is_waiting = task.todo and not task.bug and task.todo[0][0] == "acquire"
        holder = state.world[variable_of(task, task.todo[0][1])] if is_waiting else None
    return holder == name


def is_cyclic(orders: frozenset[tuple[str, str]]) -> bool:
    """Tell whether locks of some classes are taken in a circle."""
    left = set(orders)
    while ends := {pair for pair in left if not any(first == pair[1] for first, _ in left)}:
        left -= ends
    return bool(left)


def _lost(world: dict[Any, Any]) -> set[str]:
    """Objects that a task has made, that are neither freed nor in anybody's reach."""
    made = {key[:-1] for key, alive in world.items() if isinstance(key, str) and key.endswith(".") and alive}
    reached = {"A", "B", world["ptr"], world["p"], world[0], world[1], *world["H"], *world["G"]}
    return made - reached


def step(state: State, name: str) -> State:
    """Let a task do its next operation; return what is then."""
    tasks = dict(state.tasks)
    after = State(tasks, dict(state.world))
    task = tasks[name]
    operation, tasks[name] = task.todo[0], task._replace(todo=task.todo[1:])
    try:
        OPERATIONS[operation[0]](_Doing(after, name), *operation[1:])
    except Bug as bug:
        tasks[name] = tasks[name]._replace(bug=str(bug))
    else:
        _settle(after, name)
    return after


# What a task does by itself -------------------------------------------------------------------------------------------


def _settle(state: State, name: str) -> None:
    """Go on up to the next operation, or to what a task meets before."""
    tasks = state.tasks
    try:
        while todo := tasks[name].todo:
            if todo[0][0] in OPERATIONS:
                _insist(tasks[name], todo[0])
                return
            before = tasks[name]
            tasks[name] = CONTROL[todo[0][0]](before._replace(todo=todo[1:]), *todo[0][1:])
            if before.depth and not tasks[name].depth:
                _leave(state, name)
            if before.made != tasks[name].made:
                thing = f"{name}#{before.made}"
                tasks[name] = tasks[name]._replace(o=thing)
                state.world |= _object(thing)
        if tasks[name].held or tasks[name].depth:
            raise Bug("lock misuse")
    except Bug as bug:
        tasks[name] = tasks[name]._replace(bug=str(bug))


def _insist(task: Task, operation: Statement) -> None:
    """Raise what a task meets that is about to do an operation, before it is done."""
    kind, *args = operation
    if task.o is None and any(_is_member(kind, each) for each in args):
        raise Bug("null dereference")
    if (kind == "grace" or (kind == "acquire" and args[0] in SLEEPS)) and task.is_atomic:
        raise Bug("sleeping in atomic context")


def _is_member(kind: str, argument: object) -> bool:
    """Tell whether an argument of an operation is a member of the object in `o`."""
    return (
        str(argument).startswith("*.") or (argument == "*" and kind in LISTS) or kind in ("list_next", "for_each_next")
    )


def _leave(state: State, name: str) -> None:
    """End a task's read section, for those who wait for it."""
    for each, task in state.tasks.items():
        if name in task.readers:
            state.tasks[each] = task._replace(readers=task.readers - {name})


def _then(task: Task, *statements: Statement) -> Task:
    return task._replace(todo=(*statements, *task.todo))


def _again(task: Task, value: int, body: Body, seen: int) -> Task:
    if task.r == value:
        return task
    return _then(task._replace(seen=task.seen[:seen]), ("relax",), ("loop", body, value))


def _tries(task: Task, number: int, body: Body, value: int) -> Task:
    return _then(task, *body, ("tried", number, body, value)) if number else task


def _tried(task: Task, number: int, body: Body, value: int) -> Task:
    return task if task.r == value else _then(task, ("relax",), ("tries", number - 1, body, value))


def _walking(task: Task, head: str, number: int, body: Body) -> Task:
    if task.o is None or not number:
        return task
    return _then(task, *body, ("list_next", head), ("walking", head, number - 1, body))


def _lock(task: Task, given: str, body: Body) -> Task:
    lock = variable_of(task, given)
    return _then(task, ("acquire", lock), *body, ("release", lock))


def _trylock(task: Task, given: str, body: Body) -> Task:
    lock = variable_of(task, given)
    return _then(task, ("try", lock), ("if", 1, (*body, ("release", lock)), ()))


def _might_sleep(task: Task) -> Task:
    if task.is_atomic:
        raise Bug("sleeping in atomic context")
    return task


def _rcu(task: Task, body: Body) -> Task:
    if task.depth:
        return _then(task._replace(depth=task.depth + 1), *body, ("rcu_read_unlock",))
    return _then(task, ("rcu_read_lock",), *body, ("rcu_read_unlock",))


def _unless_null(task: Task, thing: str, *statements: Statement) -> Task:
    return task if thing == "*" and task.o is None else _then(task, *statements)


def _under_xa_lock(task: Task, *operation: Any) -> Task:
    return _then(task, ("acquire", "X.lock"), operation, ("release", "X.lock"))


def _for_each_on(task: Task, head: str, body: Body) -> Task:
    if task.o is None:
        return task
    return _then(task, *body, ("for_each_next", head), ("for_each_on", head, body))


CONTROL: dict[str, Callable[..., Task]] = {
    "lock": _lock,
    "trylock": _trylock,
    "rcu": _rcu,
    "rcu_read_unlock": lambda t: t._replace(depth=t.depth - 1),
    "synchronize_rcu": lambda t: _then(t, ("grace",), ("wait",)),
    "kfree": lambda t, thing: _unless_null(t, thing, ("free", thing)),
    "kfree_rcu": lambda t, thing: _unless_null(t, thing, ("free_later", thing)),
    "flush_new": lambda t: _then(t, ("flush_work", t.w)) if t.w else t,
    "flush_work": lambda t, w: _then(t, ("might_sleep",), ("look_at_work", w), ("wait",)),
    "flush_workqueue": lambda t, q: _then(t, ("might_sleep",), ("look_at_queue", q), ("wait",)),
    "cancel_work_sync": lambda t, w: _then(
        t, ("might_sleep",), ("disable_work", w), ("look_at_work", w), ("wait",), ("enable_work", w)
    ),
    "rcu_barrier": lambda t: _then(t, ("might_sleep",), ("look_at_callbacks",), ("wait",)),
    "array_find": lambda t, wanted: _then(t, ("find_at", 0, wanted)),
    "new": lambda t: t._replace(made=t.made + 1),
    "might_sleep": _might_sleep,
    "xa_store": lambda t, i, thing: _unless_null(t, thing, ("under_xa_lock", "xa_store_locked", i, thing)),
    "xa_erase": lambda t, i: _under_xa_lock(t, "xa_erase_locked", i),
    "xa_cmpxchg": lambda t, i, old, new: _under_xa_lock(t, "xa_cmpxchg_locked", i, old, new),
    "under_xa_lock": _under_xa_lock,
    "one": lambda t: t._replace(r=1),
    "same": lambda t, back: t._replace(r=int(t.seen[-1:] == t.seen[-back:][:1])),
    "if": lambda t, value, then, otherwise: _then(t, *(then if t.r == value else otherwise)),
    "if_object": lambda t, then, otherwise: _then(t, *(then if t.o is not None else otherwise)),
    "loop": lambda t, body, value: _then(t, *body, ("again", value, body, len(t.seen))),
    "again": _again,
    "tries": _tries,
    "tried": _tried,
    "walk": lambda t, head, number, body: _then(t, ("list_first", head), ("walking", head, number, body)),
    "walking": _walking,
    "for_each": lambda t, head, body: _then(t, ("list_first", head), ("for_each_on", head, body)),
    "for_each_on": _for_each_on,
}


# Operations -----------------------------------------------------------------------------------------------------------


def variable_of(task: Task, variable: str) -> str:
    """Return the variable that is meant: `*` stands for the object in `o`."""
    return f"{task.o}{variable[1:]}" if task.o and variable.startswith("*") else variable


def lock_class(lock: str) -> str:
    """Return what lockdep takes for one lock."""
    return "l" if lock.endswith(".l") else lock


class _Doing:
    """One operation: the state that it changes, and who does it."""

    def __init__(self, state: State, name: str) -> None:
        self.state = state
        self.name = name
        self.world = state.world

    @property
    def task(self) -> Task:
        return self.state.tasks[self.name]

    def put(self, **fields: Any) -> None:
        """Change the task."""
        self.state.tasks[self.name] = self.task._replace(**fields)

    def next(self, *statements: Statement) -> None:
        """Have the task do something before what it still has to do."""
        self.put(todo=(*statements, *self.task.todo))

    def tell(self, value: Any) -> None:
        """Have the task see a value."""
        self.put(r=int(value), seen=(*self.task.seen, int(value)))

    def tell_object(self, thing: str | None) -> None:
        """Have it see an object."""
        self.put(o=thing, seen=(*self.task.seen, thing))

    def see(self, value: object) -> None:
        """Have it see something that is no value."""
        self.put(seen=(*self.task.seen, value))

    def at(self, variable: str) -> str:
        """Return the variable that is meant, of an object that is alive."""
        variable = variable_of(self.task, variable)
        if "." in variable and variable != "X.lock" and "/" not in variable:
            self.insist_alive(variable.split(".")[0])
        return variable

    def insist_alive(self, *things: str) -> None:
        """Insist on objects that are not freed."""
        if not all(self.world[f"{thing}."] for thing in things):
            raise Bug("use after free")

    def read(self, variable: Any) -> Any:
        """Look at a variable."""
        self.put(watched=self.task.watched | {variable})
        return self.world[variable]

    def change(self, variable: Any, value: Any) -> None:
        """Change it."""
        self.world[variable] = value
        self.wake(variable)

    def wake(self, variable: Any) -> None:
        """Let those go on that have read what is changed now."""
        for name, task in self.state.tasks.items():
            if name != self.name and variable in task.watched:
                self.state.tasks[name] = task._replace(changed=True)

    def value(self, given: Any) -> int:
        """Return a value that a statement gives."""
        return self.task.r + given[1] if isinstance(given, tuple) else int(given)

    def thing(self, given: str | None) -> str | None:
        """Return an object that it gives."""
        return self.task.o if given == "*" else given

    def spawn(self, body: Body, **fields: Any) -> str:
        """Make a task that does what was deferred."""
        name = f"{self.name}/{self.task.deferred}"
        self.put(deferred=self.task.deferred + 1)
        self.state.tasks[name] = Task((("start",), *body), o=self.task.o, **fields)
        return name

    def readers(self) -> frozenset[str]:
        """Return the tasks that are in a read section."""
        return frozenset(name for name, task in self.state.tasks.items() if task.depth)


def _read(on: _Doing, variable: str) -> None:
    on.tell(on.read(on.at(variable)))


def _write(on: _Doing, variable: str, value: Any) -> None:
    on.change(on.at(variable), on.value(value))


def _read_pointer(on: _Doing, variable: Any = "ptr") -> None:
    on.tell_object(on.read(variable))


def _acquire(on: _Doing, lock: str) -> None:
    lock = on.at(lock)
    on.world["orders"] |= {(lock_class(held), lock_class(lock)) for held in on.task.held}
    _hold(on, lock)


def _hold(on: _Doing, lock: str) -> None:
    on.change(lock, on.name)
    on.put(held=(*on.task.held, lock), depth=on.task.depth + (lock not in SLEEPS))


def _try(on: _Doing, lock: str) -> None:
    lock = on.at(lock)
    is_free = on.read(lock) is None
    if is_free:
        _hold(on, lock)
    on.tell(is_free)


def _release(on: _Doing, lock: str) -> None:
    lock = on.at(lock)
    if lock not in on.task.held:
        raise Bug("lock misuse")
    on.change(lock, None)
    depth = on.task.depth - (lock not in SLEEPS)
    on.put(held=tuple(each for each in on.task.held if each != lock), depth=depth)
    if not depth and lock not in SLEEPS:
        _leave(on.state, on.name)


def _atomic_add(on: _Doing, n: str, d: int) -> None:
    n = on.at(n)
    on.change(n, on.world[n] + d)


def _add_return(on: _Doing, n: str, d: int) -> None:
    n = on.at(n)
    on.change(n, on.read(n) + d)
    on.tell(on.world[n])


def _dec_and_test(on: _Doing, n: str) -> None:
    n = on.at(n)
    on.change(n, on.read(n) - 1)
    on.tell(on.world[n] == 0)


def _inc_not_zero(on: _Doing, n: str) -> None:
    n = on.at(n)
    found = on.read(n)
    if found:
        on.change(n, found + 1)
    on.tell(found != 0)


def _cmpxchg(on: _Doing, n: str, old: Any, new: Any) -> None:
    n = on.at(n)
    found = on.read(n)
    if found == on.value(old):
        on.change(n, on.value(new))
    on.tell(found)


def _try_cmpxchg(on: _Doing, n: str, old: Any, new: Any) -> None:
    n = on.at(n)
    is_exchanged = on.read(n) == on.value(old)
    if is_exchanged:
        on.change(n, on.value(new))
    on.tell(is_exchanged)


def _xchg(on: _Doing, n: str, new: Any) -> None:
    n = on.at(n)
    found = on.read(n)
    on.change(n, on.value(new))
    on.tell(found)


def _cmpxchg_pointer(on: _Doing, variable: Any, old: str | None, new: str | None) -> None:
    found = on.read(variable)
    if found == on.thing(old):
        on.change(variable, on.thing(new))
        on.wake("X" if variable in (0, 1) else None)
    on.tell_object(found)


def _swap_pointer(on: _Doing, variable: Any, new: str | None) -> None:
    found = on.read(variable)
    on.change(variable, on.thing(new))
    on.wake("X")
    on.tell_object(found)


# Elements: of a table its keys too


def _find_at(on: _Doing, at: int, wanted: int) -> None:
    if on.read(f"E[{at}]") == wanted:
        on.tell(at)
    elif at == 1:
        on.tell(-1)
    else:
        on.next(("find_at", at + 1, wanted))


def _table_get(on: _Doing, key: int) -> None:
    found = on.read(f"T[{key}]")
    on.tell(-1 if found is None else found)


def _table_set(on: _Doing, key: int, value: Any) -> None:
    keys = on.world["T"]
    on.change(f"T[{key}]", on.value(value))
    on.change("T", tuple(sorted({*keys, key})))


def _table_pop(on: _Doing, key: int) -> None:
    _table_get(on, key)
    on.change(f"T[{key}]", None)
    on.change("T", tuple(each for each in on.world["T"] if each != key))


def _change_bit(on: _Doing, at: int, bit: int) -> None:
    found = on.read(f"Z[{at}]")
    on.change(f"Z[{at}]", bit)
    on.tell(found)


def _for_each(on: _Doing) -> None:
    on.put(watched=on.task.watched | {"X"})
    on.see(tuple(index for index in (0, 1) if on.world[index]))


# References: what lib/percpu-refcount.c does. Nobody looks at the count until the grace period after a kill is over.


class Ref(NamedTuple):
    """State of a percpu_ref."""

    references: int = 1
    is_dead: bool = False
    is_atomic: bool = False
    is_counted: bool = False


def _warn(on: _Doing) -> None:
    """Whoever warns has done what it does, as far as anybody can tell."""
    on.wake("ref")
    raise Bug("warning")


def _get(on: _Doing) -> None:
    ref = on.world["ref"]
    if ref.is_counted and ref.references <= 0:
        _warn(on)
    on.change("ref", ref._replace(references=ref.references + 1))


def _tryget(on: _Doing, is_live: bool) -> None:
    ref = on.world["ref"]
    is_taken = not (ref.is_counted and ref.references == 0) and not (is_live and ref.is_dead)
    if ref.is_counted or not is_taken:
        on.read("ref")  # before, what succeeds only adds
    if is_taken:
        on.change("ref", ref._replace(references=ref.references + 1))
    on.tell(is_taken)


def _put(on: _Doing) -> None:
    ref = on.world["ref"]._replace(references=on.world["ref"].references - 1)
    on.change("ref", ref)
    if ref.is_counted and ref.references < 0:
        _warn(on)
    if ref.is_counted and ref.references == 0:
        on.next(("write_once", "y", 9))


def _kill(on: _Doing) -> None:
    ref = on.read("ref")
    if ref.is_dead:
        _warn(on)
    on.change("ref", ref._replace(is_dead=True, is_atomic=True))
    on.next(*((("is_switched",), ("put",)) if ref.is_atomic else (("call_rcu", (("count_ref",),)),)))


def _count(on: _Doing) -> None:
    ref = on.read("ref")
    if ref.references <= 0:
        _warn(on)
    on.change("ref", ref._replace(is_counted=True))
    _put(on)


def _resurrect(on: _Doing) -> None:
    ref = on.read("ref")
    if not ref.is_dead:
        _warn(on)
    on.change("ref", ref._replace(references=ref.references + 1, is_dead=False))
    if ref.is_counted:
        on.change("ref", Ref(ref.references + 1))
    else:
        on.next(("is_switched",), ("to_percpu",))


def _is_switched(on: _Doing) -> None:
    ref = on.read("ref")
    if ref.is_atomic and not ref.is_counted:
        on.next(("might_sleep",), ("relax",), ("is_switched",))


def _to_percpu(on: _Doing) -> None:
    ref = on.read("ref")
    if not ref.is_dead:
        on.change("ref", Ref(ref.references))


# Lists: of a head its entries, of an entry the list that it is on. What is linked holds pointers to what is beside it.


def beside(entries: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Return the neighbours of an entry."""
    at = entries.index(name)
    return (*entries[max(at - 1, 0) : at], *entries[at + 1 : at + 2])


def _link(on: _Doing, head: str, thing: str, is_first: bool) -> None:
    node = on.at(f"{thing}.node")
    name = node.split(".")[0]
    entries = on.read(head)
    on.insist_alive(*(entries[:1] if is_first else entries[-1:]))
    if on.read(node) is not None:
        raise Bug("list corruption")
    on.change(head, (name, *entries) if is_first else (*entries, name))
    on.change(node, head)


def _unlink(on: _Doing, thing: str) -> None:
    node = on.at(f"{thing}.node")
    head = on.read(node)
    if head is None:
        raise Bug("list corruption")
    entries = on.read(head)
    at = entries.index(node.split(".")[0])
    on.insist_alive(*beside(entries, node.split(".")[0]))
    on.change(head, entries[:at] + entries[at + 1 :])
    on.change(node, None)


def _move(on: _Doing, head: str, thing: str) -> None:
    if on.world[on.at(f"{thing}.node")]:
        on.insist_alive(*on.world[head][-1:])
    _unlink(on, thing)
    _link(on, head, thing, False)


def _splice(on: _Doing, head: str, source: str) -> None:
    moved, entries = on.read(source), on.read(head)
    if moved:
        on.insist_alive(moved[0], moved[-1], *entries[:1])
        if head == source:
            raise Bug("list corruption")
        on.change(source, ())
        on.change(head, moved + entries)
        for thing in moved:
            on.change(f"{thing}.node", head)


def _next(on: _Doing, head: str) -> None:
    node = on.at("*.node")
    name = node.split(".")[0]
    on.read(node)
    entries = on.read(on.world[node] or head)
    if on.world[node] is None:
        on.tell_object(name)
    else:
        on.tell_object([*entries, None][entries.index(name) + 1])


def _for_each_next(on: _Doing, head: str) -> None:
    """A walk that has come to an entry which is on no list never ends; at the end of another list it runs wild."""
    place = on.world[on.at("*.node")]
    _next(on, head)
    if place is None or (place != head and on.task.o is None):
        raise Bug("list corruption")


# Lives, RCU, work


def _free(on: _Doing, given: str) -> None:
    thing = on.thing(given)
    if not on.world[f"{thing}."]:
        raise Bug("double free")
    on.world[f"{thing}."] = False
    for variable in list(on.world):
        if str(variable).startswith(f"{thing}."):
            on.wake(variable)


class Item(NamedTuple):
    """State of work: the tasks that it was queued as and that were not cancelled, and how many keep it from that."""

    runs: tuple[str, ...] = ()
    is_pending: bool = False
    disabled: int = 0


def _queue(on: _Doing, queue: str, work: str, body: Body) -> bool:
    item = on.world[work]
    if item.is_pending or item.disabled:
        return False
    name = on.spawn(body, work=work, ends=frozenset((*on.world[queue], *item.runs)))
    on.world[work] = item._replace(runs=(*item.runs, name), is_pending=True)
    on.world[queue] = (*on.world[queue], name)
    return True


def _queue_new(on: _Doing, queue: str, body: Body) -> None:
    work = f"{on.name}/{on.task.deferred}.new"
    on.world[work] = Item()
    _queue(on, queue, work, body)
    on.put(w=work)


def _start(on: _Doing) -> None:
    work = on.task.work
    if not work:
        return
    if on.name not in on.world[work].runs:
        on.put(todo=())
        return
    on.at(work)
    on.world[work] = on.world[work]._replace(is_pending=False)


def _cancel(on: _Doing, work: str, disables: int) -> None:
    work = on.at(work)
    item = on.world[work]
    on.tell(item.is_pending)
    on.world[work] = Item(item.runs[:-1] if item.is_pending else item.runs, False, item.disabled + disables)


def _enable(on: _Doing, work: str) -> None:
    work = on.at(work)
    on.world[work] = on.world[work]._replace(disabled=on.world[work].disabled - 1)


def _callbacks(on: _Doing) -> None:
    on.put(ends=frozenset(name for name, task in on.state.tasks.items() if task.is_callback and task.counts))


def _relax(on: _Doing) -> None:
    on.put(watched=frozenset(), changed=False)


OPERATIONS: dict[str, Callable[..., None]] = {
    **dict.fromkeys(("read", "read_once", "load_acquire", "atomic_read"), _read),
    **dict.fromkeys(("write", "write_once", "store_release"), _write),
    **dict.fromkeys(("load_pointer", "dereference"), _read_pointer),
    "assign_pointer": lambda on, new: on.change("ptr", on.thing(new)),
    "acquire": _acquire,
    "try": _try,
    "release": _release,
    "atomic_add": _atomic_add,
    "add_return": _add_return,
    "dec_and_test": _dec_and_test,
    "inc_not_zero": _inc_not_zero,
    "cmpxchg": _cmpxchg,
    "try_cmpxchg": _try_cmpxchg,
    "xchg": _xchg,
    "pointer_read": lambda on: _read_pointer(on, "p"),
    "pointer_cmpxchg": lambda on, old, new: _cmpxchg_pointer(on, "p", old, new),
    "get": _get,
    "tryget": lambda on: _tryget(on, False),
    "tryget_live": lambda on: _tryget(on, True),
    "put": _put,
    "kill": _kill,
    "count_ref": _count,
    "resurrect": _resurrect,
    "is_switched": _is_switched,
    "to_percpu": _to_percpu,
    "is_dying": lambda on: on.tell(on.read("ref").is_dead),
    "list_add": lambda on, head, thing: _link(on, head, thing, True),
    "list_add_tail": lambda on, head, thing: _link(on, head, thing, False),
    "list_move_tail": _move,
    "list_del": _unlink,
    "list_empty": lambda on, head: on.tell(not on.read(head)),
    "node_empty": lambda on, thing: on.tell(on.read(on.at(f"{thing}.node")) is None),
    "list_first": lambda on, head: on.tell_object((*on.read(head), None)[0]),
    "list_next": _next,
    "for_each_next": _for_each_next,
    "list_splice": _splice,
    "array_read": lambda on, i: on.tell(on.read(f"E[{i}]")),
    "array_read_once": lambda on, i: on.tell(on.read(f"E[{i}]")),
    "array_write": lambda on, i, value: on.change(f"E[{i}]", on.value(value)),
    "array_write_once": lambda on, i, value: on.change(f"E[{i}]", on.value(value)),
    "find_at": _find_at,
    "table_get": _table_get,
    "table_get_once": _table_get,
    "table_set": _table_set,
    "table_set_once": _table_set,
    "table_pop": _table_pop,
    "table_has": lambda on, key: on.tell(on.read(f"T[{key}]") is not None),
    "table_keys": lambda on: on.see(on.read("T")),
    "table_len": lambda on: on.tell(len(on.read("T"))),
    "set_bit": lambda on, i: on.change(f"Z[{i}]", 1),
    "clear_bit": lambda on, i: on.change(f"Z[{i}]", 0),
    "test_bit": lambda on, i: on.tell(on.read(f"Z[{i}]")),
    "test_and_set_bit": lambda on, i: _change_bit(on, i, 1),
    "test_and_clear_bit": lambda on, i: _change_bit(on, i, 0),
    "xa_for_each": _for_each,
    "xa_load": _read_pointer,
    "xa_store_locked": _swap_pointer,
    "xa_erase_locked": lambda on, i: _swap_pointer(on, i, None),
    "xa_cmpxchg_locked": _cmpxchg_pointer,
    "rcu_read_lock": lambda on: on.put(depth=1),
    "grace": lambda on: on.put(readers=on.readers()),
    **dict.fromkeys(("wait", "smp_mb", "smp_rmb", "smp_wmb"), lambda on: None),
    "start": _start,
    "call_rcu": lambda on, body: on.spawn(body, readers=on.readers(), is_callback=True, counts=True),
    "free_later": lambda on, thing: on.spawn((("kfree", thing),), readers=on.readers(), is_callback=True),
    "look_at_callbacks": _callbacks,
    "free": _free,
    "queue_new": _queue_new,
    "queue_work": lambda on, queue, work: on.tell(_queue(on, queue, on.at(work), WORK[work])),
    "look_at_work": lambda on, work: on.put(ends=frozenset(on.world[on.at(work)].runs[-1:])),
    "look_at_queue": lambda on, queue: on.put(ends=frozenset(on.world[queue])),
    "cancel_work": lambda on, work: _cancel(on, work, 0),
    "disable_work": lambda on, work: _cancel(on, work, 1),
    "enable_work": _enable,
    "relax": _relax,
}
LISTS = ("list_add", "list_add_tail", "list_move_tail", "list_del", "node_empty", "list_next")
