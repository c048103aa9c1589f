"""What is deferred: work on queues, and the callbacks of RCU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from tests.explore.found import found

from swaplab.explore import Program, explore
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Atomic,
    Direct,
    Mutex,
    Shared,
    SpinLock,
    Work,
    WorkQueue,
    call_rcu,
    cancel_work,
    cancel_work_sync,
    flush_work,
    flush_workqueue,
    install,
    kfree,
    kfree_rcu,
    queue_work,
    rcu,
    rcu_barrier,
    synchronize_rcu,
)
from swaplab.kernel.sync.bugs import KernelBug
from swaplab.kernel.sync.threads import Threads


class System(Shared):
    """Queues, and work that counts how often it runs."""

    mutex: Final[Mutex]
    lock: Final[SpinLock]
    runs: Final[Atomic]
    queued: Final[Atomic]
    flag: bool
    order: tuple[str, ...]
    item: Item

    def __init__(self) -> None:
        self.mutex = Mutex(self, "mutex")
        self.lock = SpinLock(self, "lock")
        self.queue, self.other = WorkQueue("queue"), WorkQueue("other")
        self.work = Work(self, "work", run, self)
        self.again = Work(self, "again", queue_again, self)
        self.itself = Work(self, "itself", flush_itself, self)
        self.waits, self.waits_too = Work(self, "waits", wait_for_other, self), Work(self, "waits_too", wait_back, self)
        self.works = tuple(Work(self, f"work {name}", note, self, name) for name in "abc")
        self.slow = Work(self, "slow", run_slowly, self)
        self.runs, self.queued = Atomic(self, "runs"), Atomic(self, "queued")
        self.flag = False
        self.order = ()
        self.item = Item()


class Item(Shared):
    """Something that can be freed, with work."""

    value: int

    def __init__(self) -> None:
        self.work = Work(self, "work", use, self)
        self.value = 0


Body = Callable[[System], object]


def use(item: Item) -> None:
    WRITE_ONCE(item).value = 1
    WRITE_ONCE(item).value = 2


def run(system: System) -> None:
    system.runs.add(1)


def queue_again(system: System) -> None:
    system.runs.add(1)
    if system.runs.read() < 3:
        queue_work(system.queue, system.again)


def flush_itself(system: System) -> None:
    flush_work(system.itself)


def wait_for_other(system: System) -> None:
    flush_work(system.waits_too)


def wait_back(system: System) -> None:
    flush_work(system.waits)


def note(system: System, name: str) -> None:
    with system.lock:
        system.order = (*system.order, name)


def set_flag(system: System) -> None:
    WRITE_ONCE(system).flag = True


def queue(system: System) -> None:
    system.queued.add(queue_work(system.queue, system.work))


def queue_on_other(system: System) -> None:
    system.queued.add(queue_work(system.other, system.work))


def cancel(system: System) -> None:
    system.queued.add(-cancel_work(system.work))


class Seen:
    """Notes what executions come to."""

    def __init__(self, look: Callable[[System], object]) -> None:
        self.look = look
        self.values: set[object] = set()

    def __call__(self, system: System) -> bool:
        self.values.add(self.look(system))
        return True


def runs(system: System) -> int:
    return system.runs.value


def as_often_as_queued(system: System) -> bool:
    return system.runs.value == system.queued.value


# Queues ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", [queue, queue_on_other])
def test_work_that_is_pending_is_not_queued_again(second: Body) -> None:
    seen = Seen(runs)
    result = found(System, {"CPU0": queue, "CPU1": second}, {"seen": seen, "as queued": as_often_as_queued})
    assert not result.kinds
    assert seen.values == {1, 2}


def test_work_can_queue_itself() -> None:
    seen = Seen(runs)
    assert not found(System, {"CPU0": lambda s: queue_work(s.queue, s.again)}, {"seen": seen}).kinds
    assert seen.values == {3}


def test_cancelled_work_does_not_run_and_other_work_does() -> None:
    seen = Seen(runs)
    tasks = {"CPU0": queue, "CPU1": cancel}
    assert not found(System, tasks, {"seen": seen, "as queued": as_often_as_queued}).kinds
    assert seen.values == {0, 1}


def test_a_task_that_cancels_what_it_has_queued_may_come_too_late() -> None:
    def both(system: System) -> None:
        queue(system)
        cancel(system)

    seen = Seen(runs)
    assert not found(System, {"CPU0": both}, {"seen": seen, "as queued": as_often_as_queued}).kinds
    assert seen.values == {0, 1}


def test_work_runs_in_its_order_without_what_was_cancelled() -> None:
    def queue_all(system: System) -> None:
        for work in system.works:
            queue_work(system.queue, work)
        cancel_work(system.works[1])

    seen = Seen(lambda system: "".join(system.order))
    assert not found(System, {"CPU0": queue_all}, {"seen": seen}).kinds
    assert seen.values == {"abc", "ac"}


def test_cancelling_waits_only_if_it_is_sync() -> None:
    def stop(cancel: Callable[[Work], bool]) -> Body:
        def run(system: System) -> None:
            queue_work(system.queue, system.item.work)
            cancel(system.item.work)
            kfree(system.item)

        return run

    assert found(System, {"CPU0": stop(cancel_work)}).kinds == {"use after free"}
    assert not found(System, {"CPU0": stop(cancel_work_sync)}).kinds


def test_work_that_queues_itself_is_stopped_for_good() -> None:
    def stop(system: System) -> None:
        queue_work(system.queue, system.again)
        cancel_work_sync(system.again)
        assert not system.again.pending()

    seen = Seen(runs)
    assert not found(System, {"CPU0": stop}, {"seen": seen}).kinds
    assert seen.values == {0, 1, 2, 3}


def test_nothing_is_queued_while_it_is_cancelled() -> None:
    def stop(system: System) -> None:
        system.queued.add(-cancel_work_sync(system.work))

    def queue_and_tell(system: System) -> None:
        WRITE_ONCE(system).flag = queue_work(system.queue, system.work)
        system.queued.add(system.flag)

    seen = Seen(lambda system: system.flag)
    tasks = {"CPU0": stop, "CPU1": queue_and_tell}
    assert not found(System, tasks, {"seen": seen, "as queued": as_often_as_queued}).kinds
    assert seen.values == {False, True}


@pytest.mark.parametrize("wait", [lambda s: flush_work(s.work), lambda s: flush_workqueue(s.queue)])
def test_flushing_waits(wait: Body) -> None:
    def queue_and_wait(system: System) -> None:
        queue(system)
        wait(system)
        assert system.runs.read() == 1

    assert not found(System, {"CPU0": queue_and_wait}).kinds


def test_flushing_sees_what_another_has_queued_or_not() -> None:
    def wait(system: System) -> None:
        flush_work(system.work)
        WRITE_ONCE(system).flag = system.runs.read() == 1

    seen = Seen(lambda system: system.flag)
    assert not found(System, {"CPU0": wait, "CPU1": queue}, {"seen": seen}).kinds
    assert seen.values == {False, True}


def test_work_that_waits_for_itself_and_for_each_other() -> None:
    assert found(System, {"CPU0": lambda s: queue_work(s.queue, s.itself)}).kinds == {"deadlock"}

    def queue_both(system: System) -> None:
        queue_work(system.queue, system.waits)
        queue_work(system.other, system.waits_too)

    assert "deadlock" in found(System, {"CPU0": queue_both}).kinds


def test_one_queue_flushes_the_other() -> None:
    def wait_for(system: System) -> None:
        flush_work(system.work)
        assert system.runs.read() == 1

    def queue_both(on: Callable[[System], WorkQueue]) -> Body:
        def run(system: System) -> None:
            queue_work(system.queue, system.work)
            queue_work(on(system), Work(None, "waiting", wait_for, system))

        return run

    assert not found(System, {"CPU0": queue_both(lambda system: system.other)}).kinds

    def queue_behind(system: System) -> None:
        queue_work(system.queue, Work(None, "waiting", wait_for, system))
        queue_work(system.queue, system.work)

    assert "deadlock" in found(System, {"CPU0": queue_behind}).kinds


def test_work_of_what_was_freed() -> None:
    def queue_and_free(system: System) -> None:
        queue_work(system.queue, system.item.work)
        kfree(system.item)

    assert "Item.work is used after Item was freed" in found(System, {"CPU0": queue_and_free}).sentences


# RCU ------------------------------------------------------------------------------------------------------------------

SLEEPS: tuple[Body, ...] = (
    lambda system: system.mutex.acquire(),
    lambda system: synchronize_rcu(),
    lambda system: rcu_barrier(),
    lambda system: flush_work(system.work),
    lambda system: flush_workqueue(system.queue),
    lambda system: cancel_work_sync(system.work),
)


def call_back(runtime: Direct | Threads, body: Body) -> None:
    call_rcu(body, System())
    runtime.drain()


@pytest.mark.parametrize("sleep", SLEEPS)
def test_callbacks_must_not_sleep(sleep: Body) -> None:
    assert found(System, {"CPU0": lambda system: call_rcu(sleep, system)}).kinds == {"sleeping in atomic context"}
    for runtime in (Direct(), Threads()):
        with install(runtime), pytest.raises(KernelBug, match="may sleep"):
            call_back(runtime, sleep)


@pytest.mark.parametrize("sleep", SLEEPS[1:])
def test_nothing_sleeps_in_a_section(sleep: Body) -> None:
    def under_rcu(system: System) -> None:
        with rcu:
            sleep(system)

    assert found(System, {"CPU0": under_rcu}).kinds == {"sleeping in atomic context"}


def test_callbacks_may_queue_work_that_sleeps() -> None:
    def lock(system: System) -> None:
        with system.mutex:
            system.runs.add(1)

    def defer(system: System) -> None:
        call_rcu(queue_work, system.queue, Work(None, "lock", lock, system))

    assert not found(System, {"CPU0": defer}, {"ran": lambda system: runs(system) == 1}).kinds


@pytest.mark.parametrize(("barrier", "kinds"), [(rcu_barrier, set()), (synchronize_rcu, {"invariant broken"})])
def test_a_barrier_waits_for_callbacks_and_a_grace_period_does_not(
    barrier: Callable[[], None], kinds: set[str]
) -> None:
    def defer(system: System) -> None:
        call_rcu(set_flag, system)
        barrier()
        assert READ_ONCE(system).flag

    assert found(System, {"CPU0": defer}).kinds == kinds


def test_a_barrier_does_not_wait_for_what_comes_later() -> None:
    def wait(system: System) -> None:
        rcu_barrier()
        system.queued.add(READ_ONCE(system).flag)

    seen = Seen(lambda system: system.queued.value)
    tasks: dict[str, Body] = {"CPU0": wait, "CPU1": lambda system: call_rcu(set_flag, system)}
    assert not found(System, tasks, {"seen": seen}).kinds
    assert seen.values == {0, 1}


def test_a_barrier_does_not_wait_for_kfree_rcu() -> None:
    def free(system: System) -> None:
        kfree_rcu(system.item)
        rcu_barrier()
        READ_ONCE(system.item).value  # noqa: B018

    def free_after_barrier(system: System) -> None:
        call_rcu(kfree, system.item)
        rcu_barrier()
        READ_ONCE(system.item).value  # noqa: B018

    assert found(System, {"CPU0": free}).executions == 2
    assert found(System, {"CPU0": free_after_barrier}).executions == 1


# Locks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", ["mutex", "lock"])
def test_unlocking_what_another_task_has_locked(lock: str) -> None:
    def take(system: System) -> None:
        with getattr(system, lock):
            pass

    def give_back(system: System) -> None:
        getattr(system, lock).release()

    sentences = found(System, {"CPU0": take, "CPU1": give_back}).sentences
    assert f"CPU1 unlocks System.{lock}, which CPU0 holds" in sentences
    assert f"CPU1 unlocks System.{lock}, which is not locked" in sentences


# Without an explorer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Direct, Threads])
def test_other_runtimes(make: Callable[[], Direct | Threads]) -> None:
    runtime = make()
    with install(runtime):
        system = System()
        with system.lock:
            assert queue_work(system.queue, system.work)
        runtime.drain()
        assert system.runs.read() == 1
        queue_work(system.queue, system.work)
        flush_workqueue(system.queue)
        assert runs(system) == 2
        call_rcu(run, system)
        rcu_barrier()
        assert runs(system) == 3
        queue_work(system.queue, system.again)
        flush_work(system.again)
        cancel_work_sync(system.again)
        assert not system.again.is_pending
        assert queue_work(system.other, system.work)
        flush_work(system.work)
        assert runs(system) >= 5


def test_pending_without_an_explorer() -> None:
    runtime = Direct()
    with install(runtime):
        system = System()
        assert [queue_work(each, system.work) for each in (system.queue, system.other)] == [True, False]
        assert [cancel_work(system.work), cancel_work(system.work)] == [True, False]
        runtime.drain()
        assert runs(system) == 0


def run_slowly(system: System) -> None:
    assert system.queued.add_return(1) == 1, "it runs beside itself"
    system.queued.add(-1)


def queue_on_both(system: System) -> None:
    work = system.slow
    queue_work(system.queue, work)
    queue_work(system.other, work)


def test_work_never_runs_beside_itself() -> None:
    tasks: dict[str, Body] = {"CPU0": queue_on_both, "CPU1": lambda system: system.queued.read()}
    assert explore(Program("both", System, tasks)).complete
