"""Programs of the language as programs of the explorer: real tasks on the parts of kernel/sync."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.explore.enumerator import language
from tests.explore.enumerator.language import WORK, Body, Statement

from swaplab.explore import Program
from swaplab.explore.runtime import Explorer
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Array,
    Atomic,
    Bitmap,
    ListHead,
    ListNode,
    Lock,
    Mutex,
    PercpuRef,
    Pointer,
    Shared,
    SpinLock,
    Table,
    Work,
    WorkQueue,
    XArray,
    call_rcu,
    cancel_work,
    cancel_work_sync,
    current,
    flush_work,
    flush_workqueue,
    kfree,
    kfree_rcu,
    queue_work,
    rcu,
    rcu_assign_pointer,
    rcu_barrier,
    rcu_dereference,
    relax,
    smp_load_acquire,
    smp_mb,
    smp_rmb,
    smp_store_release,
    smp_wmb,
    synchronize_rcu,
)

__all__ = ["System", "Thing", "translate", "world"]


class Thing(Shared):
    """An object with some of everything."""

    name: Final[str]
    v: int

    def __init__(self, name: str) -> None:
        self.name = name
        self.v = 0
        self.l = SpinLock(self, "l")
        self.c = Atomic(self, "c")
        self.node = ListNode(self, "node")
        self.w = Work(self, "w", self.work)

    def work(self) -> None:
        self.c.add_return(1)


class System(Shared):
    """What all tasks share."""

    x: int
    y: int
    ptr: Thing | None

    def __init__(self) -> None:
        self.x = self.y = 0
        self.a, self.b, self.m = SpinLock(self, "a"), SpinLock(self, "b"), Mutex(self, "m")
        self.n, self.k = Atomic(self, "n", 0), Atomic(self, "k", 1)
        self.H: ListHead[Thing] = ListHead(self, "H")
        self.G: ListHead[Thing] = ListHead(self, "G")
        self.p: Pointer[Thing] = Pointer(self, "p")
        self.ref = PercpuRef(self, "ref", self.release)
        self.X: XArray[Thing] = XArray(self, "X")
        self.E: Array[int] = Array(self, "E", bytearray(2))
        self.T: Table[int, int] = Table(self, "T")
        self.Z = Bitmap(self, "Z", 2)
        self.W = Work(self, "W", self.work)
        self.q, self.u = WorkQueue("q"), WorkQueue("u")
        self.A, self.B = Thing("A"), Thing("B")
        self.ptr = self.A

    def work(self) -> None:
        _Runner(self, "W", None).body(WORK["W"])

    def release(self) -> None:
        WRITE_ONCE(self).y = 9


def world(system: System, objects: list[Shared]) -> dict[Any, Any]:
    """Return the state of a system, and of what tasks have made, as the small model has it."""
    found: dict[Any, Any] = {name: getattr(system, name) for name in ("x", "y")}
    found |= {name: _holder(getattr(system, name)) for name in "abm"} | {"X.lock": _holder(system.X.lock)}
    found |= {name: getattr(system, name).value for name in "nk"}
    found |= {name: tuple(each.name for each in getattr(system, name).entries()) for name in "HG"}
    found |= {"ptr": _name(system.ptr), "p": _name(system.p.target)}
    found |= {index: _name(system.X.items.get(index)) for index in (0, 1)}
    found |= {f"{name}[{at}]": getattr(system, name).items[at] for name in "EZ" for at in (0, 1)}
    found |= {f"T[{key}]": system.T.items.get(key) for key in (0, 1)} | {"T": tuple(sorted(system.T.items))}
    ref = system.ref
    found["ref"] = (ref.count, ref.is_dying, ref.is_atomic, ref.is_counted)
    for thing in (each for each in objects if isinstance(each, Thing)):
        name = thing.name
        head = thing.node.head
        found |= {f"{name}.": "_freed" not in thing.__dict__, f"{name}.v": thing.v, f"{name}.l": _holder(thing.l)}
        found |= {f"{name}.c": thing.c.value, f"{name}.node": head.name if head else None}
    return found


def _name(thing: Thing | None) -> str | None:
    return thing.name if thing else None


def _holder(lock: Lock) -> bool:
    return lock.holder is not None


def translate(program: language.Program, order: tuple[int, ...]) -> Program[System]:
    """Return a program of the explorer, with its tasks in an order."""

    def task(number: int) -> Callable[[System], tuple[object, ...]]:
        def run(system: System) -> tuple[object, ...]:
            runner = _Runner(system, f"t{number}", None)
            runner.body(program[number])
            return tuple(runner.seen)

        return run

    return Program("generated", System, {f"t{number}": task(number) for number in order})


class _Runner:
    """Does the statements of a task, with its registers."""

    def __init__(self, system: System, name: str, o: Thing | None) -> None:
        self.system = system
        self.name = name
        self.o = o
        self.r = 0
        self.w: Work | None = None
        self.seen: list[object] = []
        self.made = self.works = 0

    def body(self, body: Body) -> None:
        for statement in body:
            self.do(statement)

    def do(self, statement: Statement) -> None:
        kind, *args = statement
        getattr(self, f"do_{kind}")(*args)

    def tell(self, value: int) -> None:
        self.r = int(value)
        self.seen.append(self.r)

    def tell_object(self, thing: Thing | None) -> None:
        self.o = thing
        self.seen.append(_name(thing))

    def part(self, name: str) -> Any:
        """The part of a system or an object that is meant."""
        owner, _, member = name.rpartition(".")
        return getattr(self.thing(owner), member) if owner else getattr(self.system, member)

    def field(self, name: str) -> tuple[Any, str]:
        owner, _, member = name.rpartition(".")
        return (self.thing(owner) if owner else self.system), member

    def thing(self, given: str | None) -> Thing | None:
        if given == "*":
            return self.o
        return {"A": self.system.A, "B": self.system.B, None: None}[given]

    def value(self, given: Any) -> int:
        return self.r + given[1] if isinstance(given, tuple) else int(given)

    def later(self, body: Body) -> Callable[[], None]:
        """A function that does a body, in a task that is called after this one."""
        explorer = current.runtime
        assert isinstance(explorer, Explorer)
        assert explorer.task
        system, name, o = self.system, f"{self.name}/{explorer.task.children}", self.o

        def work() -> None:
            _Runner(system, name, o).body(body)

        work.__name__ = name
        return work

    # Fields

    def do_read(self, v: str) -> None:
        self.tell(getattr(*self.field(v)))

    def do_read_once(self, v: str) -> None:
        owner, member = self.field(v)
        self.tell(getattr(READ_ONCE(owner), member))

    def do_load_acquire(self, v: str) -> None:
        owner, member = self.field(v)
        self.tell(getattr(smp_load_acquire(owner), member))

    def do_write(self, v: str, value: Any) -> None:
        setattr(*self.field(v), self.value(value))

    def do_write_once(self, v: str, value: Any) -> None:
        owner, member = self.field(v)
        setattr(WRITE_ONCE(owner), member, self.value(value))

    def do_store_release(self, v: str, value: Any) -> None:
        owner, member = self.field(v)
        setattr(smp_store_release(owner), member, self.value(value))

    def do_smp_mb(self) -> None:
        smp_mb()

    def do_smp_rmb(self) -> None:
        smp_rmb()

    def do_smp_wmb(self) -> None:
        smp_wmb()

    def do_load_pointer(self) -> None:
        self.tell_object(READ_ONCE(self.system).ptr)

    def do_dereference(self) -> None:
        self.tell_object(rcu_dereference(self.system).ptr)

    def do_assign_pointer(self, thing: str | None) -> None:
        rcu_assign_pointer(self.system).ptr = self.thing(thing)

    # Locks

    def do_lock(self, lock: str, body: Body) -> None:
        with self.part(lock):
            self.body(body)

    def do_trylock(self, lock: str, body: Body) -> None:
        part = self.part(lock)
        self.tell(part.try_acquire())
        if self.r:
            self.body(body)
            part.release()

    def do_acquire(self, lock: str) -> None:
        self.part(lock).acquire()

    def do_release(self, lock: str) -> None:
        self.part(lock).release()

    # Atomics

    def do_atomic_read(self, n: str) -> None:
        self.tell(self.part(n).read())

    def do_atomic_add(self, n: str, d: int) -> None:
        self.part(n).add(d)

    def do_add_return(self, n: str, d: int) -> None:
        self.tell(self.part(n).add_return(d))

    def do_dec_and_test(self, n: str) -> None:
        self.tell(self.part(n).dec_and_test())

    def do_inc_not_zero(self, n: str) -> None:
        self.tell(self.part(n).inc_not_zero())

    def do_cmpxchg(self, n: str, old: Any, new: Any) -> None:
        self.tell(self.part(n).cmpxchg(self.value(old), self.value(new)))

    def do_try_cmpxchg(self, n: str, old: Any, new: Any) -> None:
        wanted = self.value(old)
        self.tell(self.part(n).cmpxchg(wanted, self.value(new)) == wanted)

    def do_xchg(self, n: str, new: Any) -> None:
        self.tell(self.part(n).xchg(self.value(new)))

    def do_pointer_read(self) -> None:
        self.tell_object(self.system.p.read())

    def do_pointer_cmpxchg(self, old: str | None, new: str | None) -> None:
        self.tell_object(self.system.p.cmpxchg(self.thing(old), self.thing(new)))

    # References

    def do_get(self) -> None:
        self.system.ref.get()

    def do_tryget(self) -> None:
        self.tell(self.system.ref.tryget())

    def do_tryget_live(self) -> None:
        self.tell(self.system.ref.tryget_live())

    def do_put(self) -> None:
        self.system.ref.put()

    def do_kill(self) -> None:
        self.system.ref.kill()

    def do_resurrect(self) -> None:
        self.system.ref.resurrect()

    def do_is_dying(self) -> None:
        self.tell(self.system.ref.dying())

    # Lists

    def node(self, thing: str) -> Any:
        return self.thing(thing).node  # type: ignore[union-attr]

    def do_list_add(self, head: str, thing: str) -> None:
        self.part(head).add(self.node(thing))

    def do_list_add_tail(self, head: str, thing: str) -> None:
        self.part(head).add_tail(self.node(thing))

    def do_list_move_tail(self, head: str, thing: str) -> None:
        self.part(head).move_tail(self.node(thing))

    def do_list_del(self, thing: str) -> None:
        self.node(thing).delete()

    def do_list_empty(self, head: str) -> None:
        self.tell(self.part(head).empty())

    def do_node_empty(self, thing: str) -> None:
        self.tell(self.node(thing).empty())

    def do_list_first(self, head: str) -> None:
        self.tell_object(self.part(head).first())

    def do_list_next(self, head: str) -> None:
        self.tell_object(self.part(head).after(self.node("*")))

    def do_list_splice(self, head: str, source: str) -> None:
        self.part(head).splice(self.part(source))

    # The XArray

    def do_xa_load(self, index: int) -> None:
        self.tell_object(self.system.X.load(index))

    def do_xa_store(self, index: int, thing: str) -> None:
        item = self.thing(thing)
        if item:
            self.tell_object(self.system.X.store(index, item))

    def do_xa_erase(self, index: int) -> None:
        self.tell_object(self.system.X.erase(index))

    def do_xa_cmpxchg(self, index: int, old: str | None, new: str | None) -> None:
        self.tell_object(self.system.X.cmpxchg(index, self.thing(old), self.thing(new)))

    def do_xa_for_each(self) -> None:
        self.seen.append(self.system.X.indices())

    # Elements

    def do_array_read(self, at: int) -> None:
        self.tell(self.system.E[at])

    def do_array_read_once(self, at: int) -> None:
        self.tell(READ_ONCE(self.system.E)[at])

    def do_array_write(self, at: int, value: Any) -> None:
        self.system.E[at] = self.value(value)

    def do_array_write_once(self, at: int, value: Any) -> None:
        WRITE_ONCE(self.system.E)[at] = self.value(value)

    def do_array_find(self, wanted: int) -> None:
        self.tell(self.system.E.find(bytes([wanted])))

    def tell_element(self, value: int | None) -> None:
        self.tell(-1 if value is None else value)

    def do_table_get(self, key: int) -> None:
        self.tell_element(self.system.T.get(key))

    def do_table_get_once(self, key: int) -> None:
        self.tell_element(READ_ONCE(self.system.T).get(key))

    def do_table_set(self, key: int, value: Any) -> None:
        self.system.T[key] = self.value(value)

    def do_table_set_once(self, key: int, value: Any) -> None:
        WRITE_ONCE(self.system.T)[key] = self.value(value)

    def do_table_pop(self, key: int) -> None:
        self.tell_element(self.system.T.pop(key))

    def do_table_has(self, key: int) -> None:
        self.tell(key in self.system.T)

    def do_table_keys(self) -> None:
        self.seen.append(self.system.T.keys())

    def do_table_len(self) -> None:
        self.tell(len(self.system.T))

    def do_set_bit(self, at: int) -> None:
        self.system.Z.set_bit(at)

    def do_clear_bit(self, at: int) -> None:
        self.system.Z.clear_bit(at)

    def do_test_bit(self, at: int) -> None:
        self.tell(self.system.Z.test_bit(at))

    def do_test_and_set_bit(self, at: int) -> None:
        self.tell(self.system.Z.test_and_set_bit(at))

    def do_test_and_clear_bit(self, at: int) -> None:
        self.tell(self.system.Z.test_and_clear_bit(at))

    # Lives, RCU, work

    def do_rcu(self, body: Body) -> None:
        with rcu:
            self.body(body)

    def do_synchronize_rcu(self) -> None:
        synchronize_rcu()

    def do_call_rcu(self, body: Body) -> None:
        call_rcu(self.later(body))

    def do_kfree_rcu(self, thing: str) -> None:
        found = self.thing(thing)
        if found:
            kfree_rcu(found)

    def do_kfree(self, thing: str) -> None:
        found = self.thing(thing)
        if found:
            kfree(found)

    def do_queue_new(self, queue: str, body: Body) -> None:
        self.works += 1
        self.w = Work(None, f"work {self.works} of {self.name}", self.later(body))
        queue_work(self.part(queue), self.w)

    def do_flush_new(self) -> None:
        if self.w:
            flush_work(self.w)

    def do_queue_work(self, queue: str, work: str) -> None:
        self.tell(queue_work(self.part(queue), self.part(work)))

    def do_cancel_work(self, work: str) -> None:
        self.tell(cancel_work(self.part(work)))

    def do_cancel_work_sync(self, work: str) -> None:
        self.tell(cancel_work_sync(self.part(work)))

    def do_flush_work(self, work: str) -> None:
        flush_work(self.part(work))

    def do_flush_workqueue(self, queue: str) -> None:
        flush_workqueue(self.part(queue))

    def do_rcu_barrier(self) -> None:
        rcu_barrier()

    def do_new(self) -> None:
        name = f"{self.name}#{self.made}"
        self.made += 1
        self.o = Thing(name)

    # Control

    def do_one(self) -> None:
        self.r = 1

    def do_same(self, back: int) -> None:
        self.r = int(self.seen[-1:] == self.seen[-back:][:1])

    def do_if(self, value: int, then: Body, otherwise: Body) -> None:
        self.body(then if self.r == value else otherwise)

    def do_if_object(self, then: Body, otherwise: Body) -> None:
        self.body(then if self.o else otherwise)

    def do_loop(self, body: Body, value: int) -> None:
        seen = len(self.seen)
        while True:
            del self.seen[seen:]
            self.body(body)
            if self.r == value:
                return
            relax()

    def do_tries(self, number: int, body: Body, value: int) -> None:
        for _ in range(number):
            self.body(body)
            if self.r == value:
                return
            relax()

    def do_for_each(self, head: str, body: Body) -> None:
        for thing in self.part(head):
            self.tell_object(thing)
            self.body(body)
            self.o = thing
        self.tell_object(None)

    def do_walk(self, head: str, number: int, body: Body) -> None:
        self.do_list_first(head)
        for _ in range(number):
            if self.o is None:
                return
            self.body(body)
            self.do_list_next(head)
