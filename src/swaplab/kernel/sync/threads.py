"""Real threads: operations on shared state are done at once, in an order that is not chosen.

Operations are done under one lock. Locks, grace periods and deferred work are real: a thread waits for a lock until it
is free, RCU callbacks run in a thread of their own once every reader of before is gone, and each work queue has a
worker. Misuse is noticed as `Direct` notices it, and who waits too long for another is deadlocked.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, TypeVar

from swaplab.kernel.sync.bugs import Deadlock, LockMisuse, SleepInAtomic
from swaplab.kernel.sync.locks import Lock
from swaplab.kernel.sync.runtime import Block, install
from swaplab.kernel.sync.shared import Part, Shared, poison
from swaplab.kernel.sync.work import Deferred, Work, WorkQueue

__all__ = ["Threads"]

PAUSE_SECONDS = 0.0005

T = TypeVar("T")


def _never(kind: str) -> bool:
    return False


class _Task:
    """A thread, and what it holds.

    Attributes:
        atomic: spinlocks held and RCU read sections begun.
        sections: read sections begun so far; a spinlock is one.
    """

    __slots__ = ("atomic", "sections", "thread")

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.atomic = self.sections = 0

    def enter(self) -> None:
        # Counted before it begins, so that a task that sees it inside knows which section it is in.
        if not self.atomic:
            self.sections += 1
        self.atomic += 1

    def is_in(self, section: int) -> bool:
        return self.atomic > 0 and self.sections == section and self.thread.is_alive()


class Threads:
    """Runs the system on as many threads as call it, and a few of its own. Inside ``with``, it is installed.

    Args:
        fails: which allocations, compressions and device accesses to fail, by kind; none by default.
        patience: seconds that a thread may wait for another.
    """

    def __init__(self, fails: Callable[[str], bool] = _never, patience: float = 60.0) -> None:
        self.fails = fails
        self.patience = patience
        self._steps = threading.Lock()
        self._local = threading.local()
        self._tasks: list[_Task] = []
        self._waiting: dict[Lock, deque[threading.Lock]] = {}
        self._deferred = 0
        self._errors: list[BaseException] = []
        self._progress = threading.Condition()
        self._pause = threading.Event()
        self._workers: dict[WorkQueue, _Worker] = {}
        self._rcu = _Worker(self, "rcu", self._wait_for_readers)
        self._stack = ExitStack()
        self.lock_block: Block = (lambda lock: self.acquire(lock), lambda lock, *_exception: self.release(lock))  # noqa: PLW0108
        self.rcu_block: Block = (lambda _: self.rcu_read_lock(), lambda _, *_exception: self.rcu_read_unlock())

    def __enter__(self) -> Threads:
        self._stack.enter_context(install(self))
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        with self._stack:
            try:
                if kind is None:
                    self.drain()
            finally:
                for worker in (self._rcu, *self._workers.values()):
                    worker.stop()

    def run(self, functions: Iterable[Callable[[], object]]) -> None:
        """Call each function in a thread of its own, and wait for all.

        Raises:
            BaseException: of the first that failed.
            LockMisuse: one has ended with a lock held, or inside an RCU read section.
        """
        errors: list[BaseException] = []

        def call(function: Callable[[], object]) -> None:
            try:
                function()
                if self._task().atomic:
                    raise LockMisuse("a thread ends without leaving a spinlock or an RCU read section")
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=call, args=(function,), daemon=True) for function in functions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def _task(self) -> _Task:
        try:
            task: _Task = self._local.task
        except AttributeError:
            task = self._local.task = _Task()
            with self._steps:
                self._tasks = [each for each in self._tasks if each.thread.is_alive()] + [task]
        return task

    def step(self, part: Part, mode: object, what: str, do: Callable[..., T], *args: Any) -> T:
        """Do it while no other task does anything."""
        with self._steps:
            return do(part, *args)

    # Locks

    def acquire(self, lock: Lock) -> None:
        """Take a lock, waiting for it.

        Raises:
            Deadlock: the thread has it already, or runs out of patience.
            SleepInAtomic: it is a mutex, and the caller must not sleep.
        """
        task = self._task()
        if lock.sleeps:
            self.might_sleep(lock.label)
        while not self._try_acquire(lock, task):
            if lock._holder is task:
                raise Deadlock(f"{lock.label} is taken again by its holder")
            gate = self._queue(lock)
            if gate and not gate.acquire(timeout=self.patience):
                raise Deadlock(f"{lock.label} has not been released for {self.patience:g} s")

    def _try_acquire(self, lock: Lock, task: _Task) -> bool:
        with self._steps:
            if lock._holder is not None:
                return False
            lock._holder = task
        if not lock.sleeps:
            task.enter()
        return True

    def _queue(self, lock: Lock) -> threading.Lock | None:
        """Return what opens when the lock is released; None if it is free by now."""
        with self._steps:
            if lock._holder is None:
                return None
            gate = threading.Lock()
            gate.acquire()
            self._waiting.setdefault(lock, deque()).append(gate)
            return gate

    def try_acquire(self, lock: Lock) -> bool:
        """Take a lock if it is free."""
        return self._try_acquire(lock, self._task())

    def release(self, lock: Lock) -> None:
        """Release a lock. The task that has waited longest tries next, and may come second.

        Raises:
            LockMisuse: the thread does not hold it.
        """
        task = self._task()
        gate = None
        with self._steps:
            if lock._holder is not task:
                whose = "is not locked" if lock._holder is None else "another holds"
                raise LockMisuse(f"a thread unlocks {lock.label}, which {whose}")
            lock._holder = None
            if lock in self._waiting:
                gates = self._waiting[lock]
                gate = gates.popleft()
                if not gates:
                    del self._waiting[lock]
        if not lock.sleeps:
            task.atomic -= 1
        if gate:
            gate.release()

    def might_sleep(self, what: str) -> None:
        """Insist on a context that may sleep.

        Raises:
            SleepInAtomic: a spinlock is held, or an RCU read section or callback was begun.
        """
        if self._task().atomic:
            raise SleepInAtomic(f"{what} may sleep, but a spinlock is held or an RCU section or callback was begun")

    # RCU

    def rcu_read_lock(self) -> None:
        """Begin a read section."""
        self._task().enter()

    def rcu_read_unlock(self) -> None:
        """End it."""
        self._task().atomic -= 1

    def _wait_for_readers(self) -> None:
        """Wait until every section that has begun is over."""
        sections = [(task, task.sections) for task in self._tasks if task.atomic]
        while any(task.is_in(section) for task, section in sections):
            self._pause.wait(PAUSE_SECONDS)

    def synchronize_rcu(self) -> None:
        """Wait for a grace period."""
        self.might_sleep("synchronize_rcu")
        self._wait_for_readers()

    def call_rcu(self, call: Deferred) -> None:
        """Leave it to the thread that waits for grace periods."""
        self._rcu.put(_Call(lambda: self._call_back(call)))

    def _call_back(self, call: Deferred) -> None:
        """Run what must not sleep."""
        self.rcu_read_lock()
        call.run()
        self.rcu_read_unlock()

    def rcu_barrier(self) -> None:
        """Wait for all that has been left to that thread."""
        self._wait_for("rcu_barrier", self._rcu.last)

    # Work

    def queue_work(self, queue: WorkQueue, work: Work) -> bool:
        """Leave it to the queue's worker."""
        with self._steps:
            if not work.can_be_queued:
                return False
            work._is_pending = True
            work.token = call = _Call(lambda: self._begin(work, call))
            worker = self._workers.get(queue)
            if worker is None:
                worker = self._workers[queue] = _Worker(self, queue.name, lambda: None)
        worker.put(call)
        return True

    def _begin(self, work: Work, call: _Call) -> None:
        """Run work, unless it was cancelled."""
        with self._steps:
            is_cancelled = call.is_cancelled
            if not is_cancelled:
                work._is_pending = False
        if not is_cancelled:
            work.function(*work.args)

    def cancel_work(self, work: Work, disable: bool) -> bool:
        """Have the worker pass it over."""
        with self._steps:
            was_pending, work._is_pending = work._is_pending, False
            work.disabled += disable
            if was_pending:
                work.token.is_cancelled = True
            return was_pending

    def enable_work(self, work: Work) -> None:
        """Let it be queued again."""
        with self._steps:
            work.disabled -= 1

    def flush_work(self, work: Work) -> None:
        """Wait until work is done.

        Raises:
            BaseException: of deferred work, this or other.
            Deadlock: it takes too long.
        """
        self._wait_for("flush_work", work.token)

    def flush_workqueue(self, queue: WorkQueue) -> None:
        """Wait for all that has been left to the queue's worker. Raises what `flush_work` does."""
        with self._steps:
            worker = self._workers.get(queue)
        self._wait_for("flush_workqueue", worker.last if worker else None)

    def begun(self) -> None:
        """Hear of a worker that it has been given something to do."""
        with self._progress:
            self._deferred += 1

    def done(self, call: _Call, error: BaseException | None) -> None:
        """Hear of a worker that it has done something, or failed to."""
        with self._progress:
            call.done = True
            if error:
                self._errors.append(error)
            self._deferred -= 1
            self._progress.notify_all()

    def _wait_for(self, what: str, call: _Call | None) -> None:
        if call:
            self._wait(what, lambda: call.done)

    def _wait(self, what: str, ready: Callable[[], bool]) -> None:
        with self._progress:
            if not self._progress.wait_for(lambda: ready() or self._errors, self.patience):
                raise Deadlock(f"{what} has waited for {self.patience:g} s, with {self._deferred} works not done")
            if self._errors:
                raise self._errors[0]

    def drain(self) -> None:
        """Wait until all that was deferred is done, and what that has deferred in turn.

        Raises:
            BaseException: of deferred work.
            Deadlock: it takes too long.
        """
        self.might_sleep("drain")
        self._wait("drain", lambda: not self._deferred)

    def barrier(self, what: str) -> None:
        """Every step of a thread is one to all others."""

    def relax(self) -> None:
        """Let others go on."""
        self._pause.wait(PAUSE_SECONDS)

    def peek(self, part: object) -> None:
        """The caller makes sure that it does not change."""

    poke = peek

    def free(self, thing: Shared) -> None:
        """Poison it."""
        with self._steps:
            poison(thing)


class _Call:
    """Something that a worker has to do.

    Attributes:
        run: do it.
        is_cancelled: whether it is not to be done any more.
        done: whether that is over.
    """

    __slots__ = ("done", "is_cancelled", "run")

    def __init__(self, run: Callable[[], None]) -> None:
        self.run = run
        self.done = self.is_cancelled = False


class _Worker:
    """A thread that does work in the order it came; it begins with the first.

    Args:
        runtime: whose it is.
        name: of the thread.
        prepare: called before each batch of what has come so far.

    Attributes:
        last: what was put last.
    """

    def __init__(self, runtime: Threads, name: str, prepare: Callable[[], None]) -> None:
        self.runtime = runtime
        self.prepare = prepare
        self.waiting: deque[_Call] = deque()
        self.last: _Call | None = None
        self.wake = threading.Condition()
        self.is_stopped = False
        self.thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def put(self, call: _Call) -> None:
        """Take something to do."""
        self.runtime.begun()
        with self.wake:
            if self.thread.ident is None:
                self.thread.start()
            self.waiting.append(call)
            self.last = call
            self.wake.notify()

    def stop(self) -> None:
        """End the thread after the work that it has begun."""
        with self.wake:
            self.is_stopped = True
            self.wake.notify()
        if self.thread.ident is not None:
            self.thread.join()

    def _loop(self) -> None:
        while True:
            with self.wake:
                self.wake.wait_for(lambda: self.waiting or self.is_stopped)
                if self.is_stopped:
                    return
                batch = list(self.waiting)
                self.waiting.clear()
            self.prepare()
            for call in batch:
                error = None
                try:
                    call.run()
                except BaseException as raised:
                    error = raised
                self.runtime.done(call, error)
