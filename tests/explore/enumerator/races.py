"""Data races of one execution by the kernel's memory model, relation by relation: tools/memory-model, Linux 6.12.

An execution in which memory is sequentially consistent says which store every load has read from, and in which order
stores reach each variable. The model says from that what has to execute before what on any machine that Linux runs on;
two accesses of different tasks to one variable, one of them a store and one of them plain, that it does not order are a
data race. The names are the model's. What the model does not have is put in its terms:

- a mutex is a lock; whoever holds a spinlock is in an RCU read section;
- deferred work begins with an acquire of what its task released when it deferred it, or when the work before it in its
  queue ended; what RCU calls begins with a grace period besides; waiting for work is an acquire of its end;
- of dependencies, those through addresses count; values that are stored, and branches, are taken to order nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tests.explore.enumerator.language import WORK
from tests.explore.enumerator.machine import State, Taken, Task, variable_of

__all__ = ["Race", "races"]

Race = tuple[Any, frozenset[str]]
"""A variable, and the two tasks."""
Relation = list[int]
"""By event, bits of the events that it is related to."""


class Event(NamedTuple):
    """An event of the memory model.

    Attributes:
        task: whose it is.
        kind: R, W, or F for a fence.
        variable: of an access.
        mark: plain, once, acquire, release, noreturn; lock, unlock; of a fence which.
        address: the load that its address depends on, -1 for none.
        rmw: whether it is the store of the load just before it.
    """

    task: str
    kind: str
    variable: Any
    mark: str
    address: int = -1
    rmw: bool = False


# Events ---------------------------------------------------------------------------------------------------------------


class _Events:
    """The events of an execution, step by step."""

    def __init__(self) -> None:
        self.all: list[Event] = []
        self.pointer: dict[str, int] = {}

    def add(self, step: Taken) -> None:
        """Enter what a step does."""
        name, before, after = step
        task = before.tasks[name]
        operation = task.todo[0]
        if not task.depth and after.tasks[name].depth:
            self.all.append(Event(name, "F", None, "rcu-lock"))
        first = len(self.all)
        self._do(name, before, task, *operation)
        if operation[0] in POINTERS:
            self.pointer[name] = first
        elif operation[0] in OTHER_POINTERS:
            self.pointer.pop(name, None)
        if task.depth and not after.tasks[name].depth:
            self.all.append(Event(name, "F", None, "rcu-unlock"))
        for made in range(task.made, after.tasks[name].made):
            self.all.append(Event(name, "W", f"{name}#{made}.v", "plain"))
            self.pointer.pop(name, None)
        if "/" in name and (not after.tasks[name].todo or after.tasks[name].bug):
            self.all.append(Event(name, "W", ("end", name), "release"))

    def _do(self, name: str, before: State, task: Task, kind: str, *args: Any) -> None:
        if kind in ACCESSES:
            access, mark = ACCESSES[kind]
            self._access(name, access, _variable(task, kind, *args), mark, str(args[:1]).startswith("('*."))
        elif kind in READ_MODIFY_WRITE:
            variable = _variable(task, kind, *args)
            rest = args if kind in VARIABLES else args[1:]
            self._read_modify_write(name, variable, READ_MODIFY_WRITE[kind](before, task, variable, *rest))
        elif kind in ("acquire", "try"):
            lock = variable_of(task, args[0])
            if kind == "try" and before.world[lock] is not None:
                self._access(name, "R", lock, "once")
            else:
                self._access(name, "R", lock, "lock")
                self.all.append(Event(name, "W", lock, "lock", rmw=True))
        elif kind == "release":
            self._access(name, "W", variable_of(task, args[0]), "unlock")
        elif kind == "xa_cmpxchg_locked":
            is_stored = _if_equal(before, task, *args) == "full"
            self._access(name, *(("W", args[0], "release") if is_stored else ("R", args[0], "once")))
        else:
            self._other(name, task, kind, *args)

    def _other(self, name: str, task: Task, kind: str, *args: Any) -> None:
        if kind in FENCES:
            self.all.append(Event(name, "F", None, FENCES[kind]))
        elif kind in ("call_rcu", "free_later", "queue_new", "queue_work"):
            child = f"{name}/{task.deferred}"
            if kind == "queue_work":
                self._read_modify_write(name, variable_of(task, args[1]), "full")
            self.all.append(Event(name, "W", ("begin", child), "release"))
            if name in self.pointer:
                self.pointer[child] = self.pointer[name]
        elif kind == "start":
            self._access(name, "R", ("begin", name), "acquire")
            self._see_ends(name, task)
            if task.is_callback:
                self.all.append(Event(name, "F", None, "sync-rcu"))
            if task.work:
                self._read_modify_write(name, task.work, "full")
        elif kind in ("cancel_work", "disable_work", "enable_work"):
            self._read_modify_write(name, variable_of(task, args[0]), "full")
        elif kind in ("look_at_work", "look_at_queue"):
            self._access(name, "R", args[0], "acquire")
        elif kind == "wait":
            self._see_ends(name, task)

    def _see_ends(self, name: str, task: Task) -> None:
        for each in sorted(task.ends):
            self._access(name, "R", ("end", each), "acquire")

    def _access(self, name: str, kind: str, variable: Any, mark: str, is_through: bool = False) -> None:
        address = self.pointer.get(name, -1) if is_through else -1
        self.all.append(Event(name, kind, variable, mark, address))

    def _read_modify_write(self, name: str, variable: Any, mark: str) -> None:
        if mark == "failed":
            self._access(name, "R", variable, "once")
            return
        if mark == "full":
            self.all.append(Event(name, "F", None, "mb"))
        self._access(name, "R", variable, "noreturn" if mark == "noreturn" else "once")
        self.all.append(Event(name, "W", variable, "once", rmw=True))
        if mark == "full":
            self.all.append(Event(name, "F", None, "mb"))


def _variable(task: Task, kind: str, *args: Any) -> Any:
    if kind in VARIABLES:
        return VARIABLES[kind]
    if kind in ELEMENTS:
        return f"{ELEMENTS[kind]}[{args[0]}]"
    return variable_of(task, args[0]) if isinstance(args[0], str) else args[0]


def _full(*_: object) -> str:
    return "full"


def _unless_zero(state: State, _task: Task, variable: str) -> str:
    return "full" if state.world[variable] else "failed"


def _if_equal(state: State, task: Task, variable: str, old: Any, _new: Any) -> str:
    wanted = task.o if old == "*" else task.r + old[1] if isinstance(old, tuple) else old
    return "full" if state.world[variable] == wanted else "failed"


READ_MODIFY_WRITE: dict[str, Callable[..., str]] = {
    **dict.fromkeys(("atomic_add", "set_bit", "clear_bit"), lambda *_: "noreturn"),
    **dict.fromkeys(("add_return", "dec_and_test", "xchg", "test_and_set_bit", "test_and_clear_bit"), _full),
    "inc_not_zero": _unless_zero,
    **dict.fromkeys(("cmpxchg", "try_cmpxchg", "pointer_cmpxchg"), _if_equal),
}
ACCESSES = {
    "read": ("R", "plain"), "read_once": ("R", "once"), "load_acquire": ("R", "acquire"), "atomic_read": ("R", "once"),
    "write": ("W", "plain"), "write_once": ("W", "once"), "store_release": ("W", "release"),
    "load_pointer": ("R", "once"), "dereference": ("R", "once"), "assign_pointer": ("W", "release"),
    "pointer_read": ("R", "once"), "xa_load": ("R", "once"), "xa_store_locked": ("W", "release"),
    "xa_erase_locked": ("W", "release"),
    "array_read": ("R", "plain"), "array_read_once": ("R", "once"), "array_write": ("W", "plain"),
    "array_write_once": ("W", "once"), "find_at": ("R", "plain"), "test_bit": ("R", "once"),
}  # fmt: skip
ELEMENTS = {
    **dict.fromkeys(("array_read", "array_read_once", "array_write", "array_write_once", "find_at"), "E"),
    **dict.fromkeys(("test_bit", "set_bit", "clear_bit", "test_and_set_bit", "test_and_clear_bit"), "Z"),
}
VARIABLES = {
    **dict.fromkeys(("load_pointer", "dereference", "assign_pointer"), "ptr"),
    **dict.fromkeys(("pointer_read", "pointer_cmpxchg"), "p"),
}
OTHER_POINTERS = ("list_first", "list_next", "for_each_next", "xa_store_locked", "xa_erase_locked", "xa_cmpxchg_locked")
"""What they load is protected by something else, or by nothing."""
POINTERS = ("load_pointer", "dereference", "pointer_read", "pointer_cmpxchg", "xa_load")
FENCES = {"grace": "sync-rcu", "smp_mb": "mb", "smp_wmb": "wmb", "smp_rmb": "rmb"}


# Relations ------------------------------------------------------------------------------------------------------------


def _bits(number: int) -> Iterable[int]:
    while number:
        low = number & -number
        yield low.bit_length() - 1
        number ^= low


class _Algebra:
    """Relations between so many events."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.id: Relation = [1 << number for number in range(size)]

    def on(self, members: int) -> Relation:
        """[S]: every member, to itself."""
        return [each & members for each in self.id]

    def seq(self, first: Relation, *others: Relation) -> Relation:
        """A; b."""
        for other in others:
            found = []
            for row in first:
                total = 0
                for number in _bits(row):
                    total |= other[number]
                found.append(total)
            first = found
        return first

    @staticmethod
    def union(first: Relation, *others: Relation) -> Relation:
        """A | b."""
        for other in others:
            first = [a | b for a, b in zip(first, other, strict=True)]
        return first

    @staticmethod
    def both(first: Relation, other: Relation) -> Relation:
        """A & b."""
        return [a & b for a, b in zip(first, other, strict=True)]

    @staticmethod
    def less(first: Relation, other: Relation) -> Relation:
        r"""A \\ b."""
        return [a & ~b for a, b in zip(first, other, strict=True)]

    def inverse(self, relation: Relation) -> Relation:
        """a^-1."""
        found = [0] * self.size
        for number, row in enumerate(relation):
            for other in _bits(row):
                found[other] |= 1 << number
        return found

    def maybe(self, relation: Relation) -> Relation:
        """a?."""
        return self.union(relation, self.id)

    def star(self, relation: Relation) -> Relation:
        """a*."""
        found = self.maybe(relation)
        for middle in range(self.size):
            bit = 1 << middle
            through = found[middle]
            found = [row | through if row & bit else row for row in found]
        return found


class _Model:
    """The model, for one execution: every attribute is a set or a relation of its own name."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self.a = _Algebra(len(events))
        self._sets()
        self._basic()
        self._fences()
        self._ordered()
        self._rcu()

    def _members(self, is_one: Callable[[Event], bool]) -> int:
        return sum(1 << number for number, event in enumerate(self.events) if is_one(event))

    def _sets(self) -> None:
        self.all = (1 << len(self.events)) - 1
        self.r = self._members(lambda e: e.kind == "R")
        self.w = self._members(lambda e: e.kind == "W")
        self.m = self.r | self.w
        self.plain = self._members(lambda e: e.mark == "plain")
        self.marked = self.all & ~self.plain
        self.noreturn = self._members(lambda e: e.mark == "noreturn")
        self.acquire = self._members(lambda e: e.mark == "acquire" or (e.mark == "lock" and e.kind == "R"))
        self.release = self._members(lambda e: e.mark in ("release", "unlock"))
        self.lkr = self._members(lambda e: e.mark == "lock" and e.kind == "R")
        self.ul = self._members(lambda e: e.mark == "unlock")
        self.sync = self._members(lambda e: e.mark == "sync-rcu")

    def _basic(self) -> None:
        size = self.a.size
        self.po, self.ext, self.rf, self.co, self.fr, self.addr, self.rmw, self.rscs = ([0] * size for _ in range(8))
        sections: dict[str, int] = {}
        for number, event in enumerate(self.events):
            bit = 1 << number
            for other in range(number):
                if self.events[other].task == event.task:
                    self.po[other] |= bit
                else:
                    self.ext[other] |= bit
                    self.ext[number] |= 1 << other
            if event.address >= 0:
                self.addr[event.address] |= bit
            if event.rmw:
                self.rmw[number - 1] |= bit
            if event.mark == "rcu-lock":
                sections[event.task] = number
            elif event.mark == "rcu-unlock":
                self.rscs[sections[event.task]] |= bit
        self._coherence()

    def _coherence(self) -> None:
        """Which store a load has read from, and in which order stores reach a variable: in the order of time."""
        stores: dict[Any, list[int]] = {}
        loads: dict[Any, list[int]] = {}
        for number, event in enumerate(self.events):
            before = stores.setdefault(event.variable, [])
            if event.kind == "R":
                for other in before[-1:]:
                    self.rf[other] |= 1 << number
                loads.setdefault(event.variable, []).append(number)
            elif event.kind == "W":
                for other in before:
                    self.co[other] |= 1 << number
                for other in loads.get(event.variable, ()):
                    self.fr[other] |= 1 << number
                before.append(number)

    def _fences(self) -> None:
        a, on, seq, union = self.a, self.a.on, self.a.seq, self.a.union

        def between(mark: str) -> Relation:
            return seq(self.po, on(self._members(lambda e: e.mark == mark)), self.po)

        m, loads = on(self.m), on(self.r & ~self.noreturn)
        self.acq_po = seq(on(self.acquire), self.po, m)
        self.po_rel = seq(m, self.po, on(self.release))
        self.handover = seq(self.po, on(self.ul), union(self.po, self.rf), on(self.lkr), self.po)
        self.rmb_bare = between("rmb")
        self.rmb = seq(loads, self.rmb_bare, loads)
        self.wmb = seq(on(self.w), between("wmb"), on(self.w))
        gp = seq(self.po, on(self.sync), a.maybe(self.po))
        self.strong = union(seq(m, between("mb"), m), gp)
        self.nonrw = union(self.strong, self.po_rel, self.acq_po)
        self.fence = union(self.nonrw, self.wmb, self.rmb)

    def _ordered(self) -> None:
        a, on, seq, union = self.a, self.a.on, self.a.seq, self.a.union
        marked = on(self.marked)
        overwrite = union(self.co, self.fr)
        rfe = a.both(self.rf, self.ext)
        to_w = union(seq(self.addr, on(self.w)), a.less(overwrite, self.ext), seq(self.addr, on(self.plain), self.wmb))
        to_r = union(seq(self.addr, on(self.r)), seq(self.addr, marked, a.less(self.rf, self.ext)))
        ppo = union(to_r, to_w, a.less(self.fence, self.ext), a.less(self.handover, self.ext))
        self.rmw_sequence = a.star(seq(self.rf, self.rmw))
        cumulative = seq(a.maybe(seq(rfe, marked)), union(self.strong, self.po_rel))
        fences = union(cumulative, self.wmb, self.handover)
        self.cumul_fence = seq(marked, fences, marked, self.rmw_sequence)
        self.rfe_maybe = a.maybe(rfe)
        self.prop = seq(
            marked, a.maybe(a.both(overwrite, self.ext)), a.star(self.cumul_fence), marked, self.rfe_maybe, marked
        )
        inside = a.less(a.less(self.prop, a.id), self.ext)
        self.hb = seq(marked, union(ppo, rfe, inside), marked)
        self.pb = seq(self.prop, self.strong, a.star(self.hb), marked)

    def _rcu(self) -> None:
        a, seq, union = self.a, self.a.seq, self.a.union
        po_maybe = a.maybe(self.po)
        later = seq(a.star(self.hb), a.star(self.pb))
        link = seq(po_maybe, later, self.prop, self.po)
        gp, section = a.on(self.sync), a.inverse(self.rscs)
        order = gp
        while True:
            more = union(
                gp,
                seq(gp, link, section),
                seq(section, link, gp),
                seq(gp, link, order, link, section),
                seq(section, link, order, link, gp),
                seq(order, link, order),
            )
            if more == order:
                break
            order = union(order, more)
        rcu_fence = seq(self.po, order, po_maybe)
        self.fence = union(self.fence, rcu_fence)
        self.strong = union(self.strong, rcu_fence)
        rb = seq(self.prop, rcu_fence, later, a.on(self.marked))
        self.xbstar = a.star(union(self.hb, self.pb, rb))

    def races(self) -> Relation:
        """The two accesses of each data race."""
        a, on, seq, union = self.a, self.a.on, self.a.seq, self.a.union
        marked = on(self.marked)
        same = a.less(self.xbstar, self.ext)
        seen = union(seq(self.strong, marked, self.xbstar), same)
        vis = seq(a.star(self.cumul_fence), self.rfe_maybe, marked, seen)
        rmb_before = seq(on(self.r & ~self.noreturn), self.rmb_bare, on(self.all & ~self.noreturn))
        rmb_after = seq(on(self.all & ~self.noreturn), self.rmb_bare, on(self.r & ~self.noreturn))
        w_pre = seq(marked, a.maybe(union(self.addr, self.fence)))
        r_pre = seq(marked, a.maybe(union(self.addr, self.nonrw, rmb_before)))
        w_post = seq(a.maybe(self.fence), marked, self.rmw_sequence)
        r_post = seq(a.maybe(union(self.nonrw, rmb_after)), marked)
        ww_vis = union(self.fence, seq(self.strong, self.xbstar, w_pre), seq(w_post, vis, w_pre))
        wr_vis = union(self.fence, seq(self.strong, self.xbstar, r_pre), seq(w_post, vis, r_pre))
        rw_xbstar = union(self.fence, seq(r_post, self.xbstar, w_pre))
        loads_by = [self.m if self.plain >> n & 1 else self.plain for n in range(a.size)]
        pre = a.both([row if self.m >> n & 1 else 0 for n, row in enumerate(loads_by)], self.ext)
        marked_w = [self.w if self.marked >> n & 1 else 0 for n in range(a.size)]
        w_marked = [self.marked & self.m if self.w >> n & 1 else 0 for n in range(a.size)]
        nonrace = a.both(a.both(ww_vis, union(marked_w, rw_xbstar)), union(w_marked, wr_vis))
        ww = a.less(a.both(pre, self.co), nonrace)
        wr = a.less(a.less(a.both(pre, seq(a.maybe(self.co), self.rf)), wr_vis), a.inverse(rw_xbstar))
        rw = a.less(a.both(pre, self.fr), rw_xbstar)
        return union(ww, wr, rw)


def races(steps: list[Taken]) -> set[Race]:
    """Return the data races of an execution. Whatever does the work of an object is called `work`."""
    found = _Events()
    for step in steps:
        found.add(step)
    if not any(event.mark == "plain" for event in found.all):
        return set()
    relation = _Model(found.all).races()
    pairs = ((found.all[a], found.all[b]) for a, row in enumerate(relation) for b in _bits(row))
    names = {name: "work" if task.work in WORK else name for name, task in steps[-1].after.tasks.items()}
    return {(first.variable, frozenset((names[first.task], names[second.task]))) for first, second in pairs}
