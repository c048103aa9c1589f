"""Reference counts: nobody sees zero before a count is looked at, and then everybody does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.explore.found import found

from swaplab.kernel.page_alloc import Zone
from swaplab.kernel.sync import Atomic, PercpuRef, Shared, rcu


class Thing(Shared):
    """Something with references, of which the initial one and another are there."""

    released: int
    taken: int

    def __init__(self) -> None:
        self.ref = PercpuRef(self, "ref", self._release)
        self.ref.get()
        self.released = self.taken = 0
        self.done = Atomic(self, "done")

    def _release(self) -> None:
        self.released += 1


Body = Callable[[Thing], object]


def get(thing: Thing) -> None:
    thing.ref.get()


def put(thing: Thing) -> None:
    thing.ref.put()


def put_twice(thing: Thing) -> None:
    thing.ref.put()
    thing.ref.put()


def kill(thing: Thing) -> None:
    thing.ref.kill()


def take_and_put(thing: Thing) -> None:
    with rcu:
        is_taken = thing.ref.tryget()
    if is_taken:
        thing.ref.put()


def kill_twice(thing: Thing) -> None:
    thing.ref.kill()
    thing.ref.kill()


def kill_and_put(thing: Thing) -> None:
    thing.ref.kill()
    thing.ref.put()


def resurrect(thing: Thing) -> None:
    thing.ref.kill()
    thing.ref.resurrect()
    assert not thing.ref.dying()
    assert thing.ref.tryget_live()
    thing.ref.put()


def is_released_once(thing: Thing) -> bool:
    return thing.released == 1


def is_alive(thing: Thing) -> bool:
    return thing.released == 0 and not thing.ref.is_atomic


@pytest.mark.parametrize("order", [(get, put_twice), (put_twice, get)])
def test_zero_is_not_seen_before_the_count_is_looked_at(order: tuple[Body, Body]) -> None:
    result = found(Thing, {"CPU0": order[0], "CPU1": order[1]}, {"alive": is_alive})
    assert result == (set(), set(), 1)


def test_tryget_succeeds_below_zero() -> None:
    def take(thing: Thing) -> None:
        assert thing.ref.tryget()
        assert thing.ref.tryget_live()

    assert not found(Thing, {"CPU0": put_twice, "CPU1": take}).kinds


def test_the_last_put_releases_once_whoever_else_tries() -> None:
    tasks = {"CPU0": kill_and_put, "CPU1": take_and_put}
    result = found(Thing, tasks, {"released once": is_released_once})
    assert not result.kinds
    assert result.executions > 2


def test_who_meets_zero_is_seen_in_both_orders() -> None:
    """After the count is looked at, a get and the last put depend on each other: one order of them is a bug."""

    def set_up() -> Thing:
        thing = Thing()
        thing.ref.kill()
        return thing

    orders = [{"CPU0": get, "CPU1": put}, {"CPU0": put, "CPU1": get}]
    assert [found(set_up, tasks).sentences for tasks in orders] == [{"Thing.ref is taken at zero"}] * 2


def test_over_put_is_seen_when_the_count_is_looked_at() -> None:
    def over_put(thing: Thing) -> None:
        put_twice(thing)
        put(thing)
        kill(thing)

    assert found(Thing, {"CPU0": over_put}).sentences == {"Thing.ref is -1 after switching to atomic"}
    assert found(Thing, {"CPU0": kill_and_put, "CPU1": put}).kinds == {"warning"}


def test_resurrection_waits_for_the_grace_period_of_the_kill() -> None:
    assert found(Thing, {"CPU0": resurrect}, {"alive": is_alive}).kinds == set()
    result = found(Thing, {"CPU0": resurrect, "CPU1": take_and_put}, {"alive": is_alive})
    assert not result.kinds

    def resurrect_under_rcu(thing: Thing) -> None:
        thing.ref.kill()
        with rcu:
            thing.ref.resurrect()

    assert "sleeping in atomic context" in found(Thing, {"CPU0": resurrect_under_rcu}).kinds


def test_resurrection_after_the_grace_period_does_not_wait() -> None:
    def set_up() -> Thing:
        thing = Thing()
        thing.ref.kill()
        return thing

    def resurrect_under_rcu(thing: Thing) -> None:
        with rcu:
            thing.ref.resurrect()

    assert not found(set_up, {"CPU0": resurrect_under_rcu}, {"alive": is_alive}).kinds


def test_killed_again_while_it_is_resurrected() -> None:
    def kill_later(thing: Thing) -> None:
        if thing.done.read():
            thing.ref.kill()
            thing.ref.put()

    def resurrect_and_tell(thing: Thing) -> None:
        thing.ref.kill()
        thing.ref._resurrect()
        thing.done.add(1)
        thing.ref._finish_switch()
        thing.ref._switch_to_percpu()

    tasks = {"CPU0": resurrect_and_tell, "CPU1": kill_later}
    result = found(Thing, tasks, {"as often as it should be": lambda t: t.released == t.ref.is_dying})
    assert not result.kinds
    assert result.executions > 4


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (kill_twice, "Thing.ref is killed twice"),
        (lambda thing: thing.ref.resurrect(), "Thing.ref is resurrected, but was not killed"),
    ],
)
def test_misuse(body: Body, sentence: str) -> None:
    assert found(Thing, {"CPU0": body}).sentences == {sentence}


def test_inc_not_zero_counts_what_is_below_zero() -> None:
    for before, (taken, after) in {-1: (True, 0), 0: (False, 0), 1: (True, 2)}.items():
        atomic = Atomic(None, "atomic", before)
        assert (atomic.inc_not_zero(), atomic.value) == (taken, after)


class Machine(Shared):
    """Something with memory."""

    def __init__(self, pages: int) -> None:
        self.zone = Zone(pages)
        self.got = Atomic(self, "got")


@pytest.mark.parametrize(
    ("pages", "wanted", "got"), [(1, (1, 1), {1}), (2, (1, 1), {2}), (3, (2, 2), {2}), (3, (1, 3), {1, 3})]
)
def test_pages_run_out_for_either(pages: int, wanted: tuple[int, int], got: set[int]) -> None:
    def take(pages: int) -> Callable[[Machine], None]:
        def run(machine: Machine) -> None:
            if machine.zone.alloc(pages):
                machine.got.add(pages)

        return run

    seen: list[int] = []

    def note(got: int) -> bool:
        seen.append(got)
        return True

    tasks = {"CPU0": take(wanted[0]), "CPU1": take(wanted[1])}
    found(lambda: Machine(pages), tasks, {"noted": lambda machine: note(machine.got.value)})
    assert set(seen) == got


@pytest.mark.parametrize(("pages", "executions"), [(16, 1), (1, 2)])
def test_pages_are_independent_while_there_are_enough(pages: int, executions: int) -> None:
    tasks = {f"CPU{n}": lambda machine: machine.zone.alloc() for n in range(2)}
    assert found(lambda: Machine(pages), tasks).executions == executions
