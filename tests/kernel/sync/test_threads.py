from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from swaplab.kernel.sync import (
    Atomic,
    ListHead,
    ListNode,
    Mutex,
    PercpuRef,
    Shared,
    SpinLock,
    Work,
    WorkQueue,
    XArray,
    call_rcu,
    current,
    flush_work,
    kfree,
    kfree_rcu,
    queue_work,
    rcu,
    relax,
    synchronize_rcu,
    validate_list,
)
from swaplab.kernel.sync.bugs import Deadlock, DoubleFree, LockMisuse, SleepInAtomic, UseAfterFree
from swaplab.kernel.sync.threads import Threads

ROUNDS = 300
THREADS = 6


class Thing(Shared):
    number: int

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.lock = SpinLock(self, "lock")
        self.mutex = Mutex(self, "mutex")
        self.node = ListNode(self, "node")


@pytest.mark.parametrize("kind", ["lock", "mutex"])
def test_a_lock_keeps_others_out(kind: str) -> None:
    thing = Thing()

    def count() -> None:
        for _ in range(ROUNDS):
            with getattr(thing, kind):
                number = thing.number
                relax() if number % 50 == 0 and kind == "mutex" else None
                thing.number = number + 1

    with Threads() as runtime:
        runtime.run([count] * THREADS)
    assert thing.number == ROUNDS * THREADS


def test_operations_on_counters_lists_and_arrays_are_atomic() -> None:
    counter = Atomic(None, "counter")
    head: ListHead[Thing] = ListHead(None, "list")
    array: XArray[Thing] = XArray(None, "array")
    lock = SpinLock(None, "lock")
    won = Atomic(None, "won")

    def work() -> None:
        for index in range(ROUNDS):
            thing = Thing(index)
            counter.add(1)
            with lock:
                head.add_tail(thing.node)
            if array.cmpxchg(index, None, thing) is None:
                won.add(1)

    with Threads() as runtime:
        runtime.run([work] * THREADS)
        assert counter.read() == len(head.entries()) == ROUNDS * THREADS
        assert won.read() == len(array.items) == ROUNDS
        validate_list(head)


def test_a_grace_period_lasts_as_long_as_the_readers_that_were_there() -> None:
    inside, leave, over = threading.Event(), threading.Event(), threading.Event()

    def read() -> None:
        with rcu:
            inside.set()
            leave.wait()
            assert not over.is_set()

    def wait() -> None:
        inside.wait()
        call_rcu(over.set)
        threading.Timer(0.05, leave.set).start()
        synchronize_rcu()
        assert leave.is_set()

    with Threads() as runtime:
        runtime.run([read, wait])
        runtime.drain()
        assert over.is_set()


def test_a_reader_that_begins_later_is_not_waited_for() -> None:
    asked, over = threading.Event(), threading.Event()

    def wait() -> None:
        asked.wait()
        synchronize_rcu()
        over.set()

    def read() -> None:
        # One section after the other, without a gap that the writer could be lucky to find.
        runtime.rcu_read_lock()
        asked.set()
        for _ in range(ROUNDS):
            runtime.rcu_read_unlock()
            runtime.rcu_read_lock()
            if over.wait(0.001):
                break
        runtime.rcu_read_unlock()
        assert over.is_set()

    with Threads() as runtime:
        runtime.run([wait, read])


def test_what_readers_see_is_not_freed() -> None:
    slot = {"thing": Thing(1)}
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            with rcu:
                thing = slot["thing"]
                for _ in range(20):
                    assert thing.number == 1

    def replace() -> None:
        for _ in range(ROUNDS):
            old, slot["thing"] = slot["thing"], Thing(1)
            kfree_rcu(old)
        stop.set()

    with Threads() as runtime:
        runtime.run([read, read, replace])


def test_a_queue_does_one_work_after_the_other() -> None:
    queue = WorkQueue("queue")
    running, order = Atomic(None, "running"), []

    def work(number: int) -> None:
        assert running.add_return(1) == 1
        order.append(number)
        relax()
        running.add(-1)

    with Threads() as runtime:
        works = [Work(None, f"work {number}", work, number) for number in range(20)]
        assert all(queue_work(queue, each) for each in works)
        flush_work(works[5])
        assert order[:6] == [0, 1, 2, 3, 4, 5]
        runtime.drain()
    assert order == list(range(20))


def test_drain_waits_for_what_deferred_work_defers() -> None:
    queue = WorkQueue("queue")
    seen = []

    def chain(depth: int) -> None:
        seen.append(depth)
        if depth:
            call_rcu(queue_work, queue, Work(None, "chain", chain, depth - 1))

    with Threads() as runtime:
        queue_work(queue, Work(None, "chain", chain, 5))
        runtime.drain()
        assert seen == [5, 4, 3, 2, 1, 0]


def test_the_last_reference_releases_once() -> None:
    released = Atomic(None, "released")
    with Threads() as runtime:
        ref = PercpuRef(Thing(), "ref", lambda: released.add(1))

        def use() -> None:
            while ref.tryget_live():
                ref.put()

        def kill() -> None:
            for _ in range(20):
                relax()
            ref.kill()

        runtime.run([use, use, kill])
        runtime.drain()
        assert released.read() == 1


def test_the_runtime_is_installed_inside_the_block_only() -> None:
    before = current.runtime
    with Threads() as runtime:
        assert current.runtime is runtime
    assert current.runtime is before


def test_threads_end_with_the_block() -> None:
    before = threading.active_count()
    with Threads():
        for name in ("one", "two"):
            queue_work(WorkQueue(name), Work(None, name, relax))
        call_rcu(relax)
        assert threading.active_count() > before
    assert threading.active_count() == before


# Misuse ---------------------------------------------------------------------------------------------------------------


def take_twice(thing: Thing) -> None:
    with thing.lock, thing.lock:
        pass


def sleep_with_a_spinlock(thing: Thing) -> None:
    with thing.lock, thing.mutex:
        pass


def sleep_in_a_read_section(thing: Thing) -> None:
    with rcu:
        synchronize_rcu()


def release_what_nobody_has(thing: Thing) -> None:
    thing.lock.release()


def end_with_a_lock(thing: Thing) -> None:
    thing.lock.acquire()


def free_twice(thing: Thing) -> None:
    kfree(thing)
    kfree(thing)


def use_after_free(thing: Thing) -> None:
    kfree(thing)
    thing.number += 1


@pytest.mark.parametrize(
    ("misuse", "bug"),
    [
        (take_twice, Deadlock),
        (sleep_with_a_spinlock, SleepInAtomic),
        (sleep_in_a_read_section, SleepInAtomic),
        (release_what_nobody_has, LockMisuse),
        (end_with_a_lock, LockMisuse),
        (free_twice, DoubleFree),
        (use_after_free, UseAfterFree),
    ],
)
def test_misuse_is_noticed(misuse: Callable[[Thing], None], bug: type[Exception]) -> None:
    with pytest.raises(bug), Threads() as runtime:
        runtime.run([lambda: misuse(Thing())])


def test_a_lock_of_another_thread_cannot_be_released() -> None:
    thing = Thing()
    with Threads() as runtime, pytest.raises(LockMisuse, match=r"unlocks Thing.lock, which another holds"), thing.lock:
        runtime.run([thing.lock.release])


def test_a_deadlock_ends_with_patience() -> None:
    first, second = Thing(), Thing()
    both = threading.Barrier(2)

    def take(one: Thing, other: Thing) -> None:
        with one.mutex:
            both.wait()
            with other.mutex:
                pass

    with pytest.raises(Deadlock, match=r"0\.1 s"), Threads(patience=0.1) as runtime:
        runtime.run([lambda: take(first, second), lambda: take(second, first)])


def test_work_that_is_never_done_ends_with_patience() -> None:
    stop = threading.Event()
    with Threads(patience=0.1) as runtime:
        queue_work(WorkQueue("queue"), Work(None, "wait", stop.wait))
        with pytest.raises(Deadlock, match="1 works not done"):
            runtime.drain()
        stop.set()


def queue(function: Callable[[], None]) -> None:
    queue_work(WorkQueue("queue"), Work(None, "work", function))


@pytest.mark.parametrize("defer", [call_rcu, queue])
def test_what_deferred_work_raises_is_not_lost(defer: Callable[[Callable[[], None]], object]) -> None:
    def fail() -> None:
        raise KeyError("deferred")

    with pytest.raises(KeyError, match="deferred"), Threads():
        defer(fail)
