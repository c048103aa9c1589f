"""Every element of an array, a table or a bitmap is a variable of its own, and seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from tests.explore.found import found

from swaplab.explore import ProgramError
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Array,
    Bitmap,
    Shared,
    SpinLock,
    Table,
    XArray,
    kfree,
    smp_load_acquire,
    smp_store_release,
)


class Map(Shared):
    """One of each."""

    lock: Final[SpinLock]
    counts: Final[Array[int]]
    names: Final[Table[str, int]]
    bits: Final[Bitmap]
    items: Final[XArray[int]]
    length: int

    def __init__(self) -> None:
        self.lock = SpinLock(self, "lock")
        self.counts = Array(self, "counts", bytearray(4))
        self.names = Table(self, "names")
        self.names["there"] = 1
        self.bits = Bitmap(self, "bits", 4)
        self.items = XArray(self, "items")
        self.length = 0


Body = Callable[[Map], object]


def increment(index: int) -> Body:
    def run(m: Map) -> None:
        m.counts[index] += 1

    return run


def increment_marked(index: int) -> Body:
    def run(m: Map) -> None:
        WRITE_ONCE(m.counts)[index] = READ_ONCE(m.counts)[index] + 1

    return run


def increment_locked(index: int) -> Body:
    def run(m: Map) -> None:
        with m.lock:
            m.counts[index] += 1

    return run


def add(key: str) -> Body:
    def run(m: Map) -> None:
        m.names[key] = 1

    return run


def count_names(m: Map) -> None:
    m.length = len(m.names)


def take_bit(m: Map) -> None:
    if not m.bits.test_and_set_bit(1):
        m.length += 1


def take_bit_in_two_steps(m: Map) -> None:
    if not m.bits.test_bit(1):
        m.bits.set_bit(1)
        WRITE_ONCE(m).length = READ_ONCE(m).length + 1


def both_counted(m: Map) -> bool:
    return bool(m.counts.items[0] == 2)


def test_plain_elements_race() -> None:
    assert found(Map, {"CPU0": increment(0), "CPU1": increment(0)}).kinds >= {"data race"}


def test_lost_update_of_an_element() -> None:
    tasks = {"CPU0": increment_marked(0), "CPU1": increment_marked(0)}
    assert found(Map, tasks, {"both": both_counted}).kinds == {"invariant broken"}


def test_lock_around_an_element() -> None:
    tasks = {"CPU0": increment_locked(0), "CPU1": increment_locked(0)}
    assert found(Map, tasks, {"both": both_counted}) == (set(), set(), 2)


@pytest.mark.parametrize(
    "bodies",
    [
        (increment(0), increment(1)),
        (add("one"), add("two")),
        (lambda m: m.names.pop("there"), add("two")),
        (lambda m: m.bits.set_bit(0), lambda m: m.bits.clear_bit(1)),
        (lambda m: m.items.store_locked(1, 1), lambda m: m.items.store_locked(2, 2)),
    ],
)
def test_different_elements_are_independent(bodies: tuple[Body, Body]) -> None:
    def read_and(body: Body) -> Body:  # or they would have nothing at all in common, which is refused
        return lambda m: (m.length, body(m))

    assert found(Map, {"CPU0": read_and(bodies[0]), "CPU1": read_and(bodies[1])}) == (set(), set(), 1)


@pytest.mark.parametrize(
    ("look", "change"),
    [
        (lambda m: "absent" in m.names, add("absent")),
        (lambda m: m.names.get("there"), lambda m: m.names.pop("there")),
        (lambda m: m.names["there"], add("there")),
        (count_names, add("absent")),
        (count_names, lambda m: m.names.pop("there")),
        (lambda m: m.names.keys(), add("absent")),
        (lambda m: list(m.names), add("absent")),
        (lambda m: list(m.counts), increment(3)),
        (lambda m: m.counts.find(b"\1"), increment(3)),
    ],
)
def test_looks_race_with_plain_changes(look: Body, change: Body) -> None:
    assert found(Map, {"CPU0": look, "CPU1": change}).kinds == {"data race"}


@pytest.mark.parametrize(
    ("look", "change"),
    [
        (lambda m: READ_ONCE(m.names).get("absent"), lambda m: WRITE_ONCE(m.names).__setitem__("absent", 1)),
        (lambda m: "there" in READ_ONCE(m.names), lambda m: WRITE_ONCE(m.names).pop("there")),
        (lambda m: READ_ONCE(m.counts).find(b"\1"), increment_marked(0)),
        (lambda m: m.bits.test_bit(2), lambda m: m.bits.set_bit(2)),
        (lambda m: m.items.indices(), lambda m: m.items.store_locked(1, 1)),
    ],
)
def test_marked_looks_and_changes_in_both_orders(look: Body, change: Body) -> None:
    assert found(Map, {"CPU0": look, "CPU1": change}) == (set(), set(), 2)


def test_publishing_an_element() -> None:
    def write(m: Map) -> None:
        m.length = 5
        smp_store_release(m.counts)[2] = 1

    def read(m: Map) -> None:
        if smp_load_acquire(m.counts)[2]:
            assert m.length == 5

    assert found(Map, {"CPU0": write, "CPU1": read}) == (set(), set(), 2)


def test_one_takes_a_bit() -> None:
    once = {"one took it": lambda m: m.length == 1}
    assert not found(Map, {"CPU0": take_bit, "CPU1": take_bit}, once).kinds
    tasks = {"CPU0": take_bit_in_two_steps, "CPU1": take_bit_in_two_steps}
    assert found(Map, tasks, once).kinds == {"invariant broken"}


@pytest.mark.parametrize(
    "use",
    [
        increment(0),
        increment_marked(0),
        add("new"),
        count_names,
        lambda m: m.bits.set_bit(0),
        lambda m: m.items.load(1),
    ],
)
def test_element_of_what_was_freed(use: Body) -> None:
    result = found(Map, {"CPU0": use, "CPU1": kfree})
    assert "use after free" in result.kinds


@pytest.mark.parametrize("index", [4, -1, "0"])
def test_no_such_element(index: int) -> None:
    with pytest.raises(ProgramError, match=r"Map.counts\[.*there are 4 elements, from 0 on"):
        found(Map, {"CPU0": lambda m: m.counts[index]})


def test_no_such_key() -> None:
    with pytest.raises(ProgramError, match=r"Map.names: a key is an integer or a text, this is \(1, 2\)"):
        found(Map, {"CPU0": lambda m: m.names.get((1, 2))})


def test_bits_have_no_marks() -> None:
    with pytest.raises(ProgramError, match=r"the elements of Map.bits are accessed atomically"):
        found(Map, {"CPU0": lambda m: READ_ONCE(m.bits).test_bit(1)})
