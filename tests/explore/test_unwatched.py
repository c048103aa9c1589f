"""Whatever a task can reach and change is watched, or constant, or refused by name."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType, SimpleNamespace
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import pytest

from swaplab.explore import Holds, Program, ProgramError, Violated, explore
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Array,
    Atomic,
    Bitmap,
    ListHead,
    ListNode,
    Mutex,
    Pointer,
    Shared,
    SpinLock,
    Table,
    WorkQueue,
    XArray,
    call_rcu,
    rcu_assign_pointer,
)
from swaplab.kernel.sync.bugs import Refused


class System(Shared):
    """Whatever one gives it."""

    v: int
    pointer: Any
    name: Final[str]
    kind: ClassVar[str] = "one"

    def __init__(self, held: object = None) -> None:
        self.v = 0
        self.pointer = None
        self.name = "s"
        self.held = held
        self.n = Atomic(self, "n")
        self.slots: XArray[Any] = XArray(self, "slots")
        self.list: ListHead[Late] = ListHead(self, "list")


def write(system: Any) -> None:
    WRITE_ONCE(system).v = 1


def refused(match: str, *tasks: Callable[[Any], object], setup: Callable[[], object] = System) -> None:
    with pytest.raises(ProgramError, match=match):
        explore(Program("mine", setup, {f"CPU{n}": task for n, task in enumerate(tasks or (write, write))}))


class Point(NamedTuple):
    """Two of something."""

    x: object
    y: object


@dataclass(frozen=True)
class Frozen:
    """The same."""

    x: object
    y: object = 1


@dataclass
class Thawed:
    """The same, but it changes."""

    x: object


class Colour(Enum):
    """Some."""

    RED = 1


def closing_over(value: object) -> Callable[[], object]:
    return lambda: value


MUTABLE: dict[str, Callable[[], object]] = {
    "list": lambda: [1],
    "dict": lambda: {1: 2},
    "set": lambda: {1},
    "bytearray": lambda: bytearray(1),
    "deque": lambda: deque([1]),
    "ndarray": lambda: np.zeros(1),
    "generator": lambda: (each for each in "ab"),
    "list_iterator": lambda: iter([1]),
    "SimpleNamespace": lambda: SimpleNamespace(v=1),
    "Thawed": lambda: Thawed(1),
}
HOLDERS: dict[str, Callable[[object], object]] = {
    "itself": lambda value: value,
    "tuple": lambda value: (1, value),
    "named tuple": lambda value: Point(1, value),
    "frozen dataclass": Frozen,
    "closure": closing_over,
    "method": lambda value: getattr(value, "__init__"),  # noqa: B009
    "mapping": lambda value: MappingProxyType({1: value}),
}
CONSTANT = {
    "numbers": (1, 2.0, True, None, "a", b"b", np.int64(3)),
    "named tuple": Point(1, Point(2, 3)),
    "frozen dataclass": Frozen(Frozen(1)),
    "enum": Colour.RED,
    "frozen set": frozenset({1, 2}),
    "function": closing_over((1, 2)),
    "class": Frozen,
    "module": pytest,
    "mapping": MappingProxyType({1: (2,)}),
}


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("kind", MUTABLE)
def test_what_changes_unseen_is_no_state(kind: str, holder: str) -> None:
    """Not of an object, of an array, nor as what a task stores, or leaves to deferred work."""

    def make() -> object:
        return HOLDERS[holder](MUTABLE[kind]())

    match = rf"holds a {kind}, whose changes nobody would see: (use|derive)"
    refused(rf"mine: System s.held {match}.*test_unwatched.py, line", setup=lambda: System(make()))
    refused(rf"mine: System s.pointer {match}.*in store\)", write, stores(make))


def stores(make: Callable[[], object]) -> Callable[[System], None]:
    def store(system: System) -> None:
        system.v = 2
        rcu_assign_pointer(system).pointer = make()

    return store


PLACES: dict[str, Callable[[System, object], object]] = {
    "System s.slots": lambda system, value: system.slots.store(1, value),
    "System": lambda _, value: System(value),
    "print": lambda _, value: call_rcu(print, value),
    "<lambda>": lambda _, value: call_rcu(closing_over(value)),
}


@pytest.mark.parametrize("place", PLACES)
def test_tasks_put_it_nowhere(place: str) -> None:
    refused(rf"{place}.* holds a list, whose changes", write, lambda system: PLACES[place](system, [1]))


@pytest.mark.parametrize("values", [[[]], [1, {}]])
def test_elements_are_constant(values: list[object]) -> None:
    def setup() -> System:
        system = System()
        system.array = Array(system, "array", values)  # type: ignore[attr-defined]
        return system

    refused(r"System s.array.* holds a (list|dict), whose changes", setup=setup)


@pytest.mark.parametrize("kind", MUTABLE)
def test_a_system_is_shared(kind: str) -> None:
    refused(rf"what setup returns holds a {kind}, whose changes nobody would see", setup=MUTABLE[kind])


@pytest.mark.parametrize("held", CONSTANT.values(), ids=CONSTANT)
def test_what_never_changes_is_fine(held: object) -> None:
    tasks = {"CPU0": write, "CPU1": lambda system: setattr(WRITE_ONCE(system), "pointer", held)}
    tasks["CPU2"] = lambda system: READ_ONCE(system).v and READ_ONCE(system).pointer
    assert isinstance(explore(Program("fine", lambda: System(held), tasks)), Holds)


def assign(name: str) -> Callable[[System], None]:
    return lambda system: setattr(system, name, 1)


@pytest.mark.parametrize("name", ["name", "held", "note", "kind"])
def test_what_is_no_field_stays(name: str) -> None:
    refused(
        rf"CPU1 sets or deletes System s.{name}, which is no field.*`{name}: int`.*in <lambda>", write, assign(name)
    )


def test_nothing_is_deleted() -> None:
    refused("CPU1 sets or deletes System s.held, which is no field", write, lambda system: delattr(system, "held"))


def test_setup_may_add_to_what_it_has_made() -> None:
    def setup() -> System:
        system = System()
        system.extra = (1,)  # type: ignore[attr-defined]
        return system

    assert isinstance(explore(Program("extra", setup, {"CPU0": write, "CPU1": write})), Holds)


class Defaults(Shared):
    """A field whose first value is the class's."""

    v: int = 3


def add(system: Any) -> None:
    WRITE_ONCE(system).v = READ_ONCE(system).v + 1


def test_defaults_are_the_first_values() -> None:
    tasks = {"CPU0": add, "CPU1": add}
    for _ in range(2):
        verdict = explore(Program("defaults", Defaults, tasks, {"both": lambda system: system.v == 5}))
        assert isinstance(verdict, Violated)
    assert Defaults.v == Defaults().v == 3


def test_classes_do_not_change_and_are_not_made() -> None:
    def define(_: System) -> type:
        class Inner(Shared):
            v: int

        return Inner

    refused(
        "class System is defined or changed while the program runs", write, lambda _: setattr(System, "kind", "two")
    )
    refused("class Inner is defined or changed while the program runs.*in define", write, define)
    refused("class Inner is defined or changed while the program runs.*in define", setup=lambda: define(System())())  # noqa: PLW0108
    assert System.kind == "one"


@pytest.mark.parametrize("mark", [READ_ONCE, WRITE_ONCE, rcu_assign_pointer])
def test_marks_are_of_what_is_shared(mark: Callable[[Any], Any]) -> None:
    refused("access to a SimpleNamespace is marked", write, lambda _: mark(SimpleNamespace(v=1)).v)
    refused("access to a Atomic is marked", write, lambda system: mark(system.n).value)


class Late(Shared):
    """Is found before it is made."""

    v: int

    def __init__(self, publish: Callable[[Late], object]) -> None:
        self.node = ListNode(self, "node")
        publish(self)
        self.v = 1


@pytest.mark.parametrize(
    "publish",
    [
        lambda system: lambda late: setattr(system, "pointer", late),
        lambda system: lambda late: system.slots.store(1, late),
        lambda system: lambda late: system.list.add(late.node),
    ],
)
def test_objects_are_found_when_they_are_made(publish: Callable[[System], Callable[[Late], object]]) -> None:
    refused("Late is published by CPU1 before its __init__ has ended", write, lambda system: Late(publish(system)))


class Twice(Shared):
    """Two parts of one name, or a part that is a field."""

    v: int
    annotated: SpinLock

    def __init__(self, add: Callable[[Twice], object]) -> None:
        self.v = 0
        self.lock = SpinLock(self, "lock")
        self.count = Atomic(None, "count")
        add(self)


def again(*make: Callable[[Twice], object]) -> Callable[[], Twice]:
    return lambda: Twice(lambda twice: [each(twice) for each in make])


PARTS: dict[str, Callable[[Shared | None], object]] = {
    "SpinLock": lambda owner: SpinLock(owner, "part"),
    "Mutex": lambda owner: Mutex(owner, "part"),
    "Atomic": lambda owner: Atomic(owner, "part"),
    "ListHead": lambda owner: ListHead(owner, "part"),
    "XArray": lambda owner: XArray(owner, "part"),
    "Pointer": lambda owner: Pointer(owner, "part"),
    "Array": lambda owner: Array(owner, "part", [0]),
    "Table": lambda owner: Table(owner, "part"),
    "Bitmap": lambda owner: Bitmap(owner, "part", 1),
}


@pytest.mark.parametrize("first", PARTS)
@pytest.mark.parametrize("second", ["SpinLock", "Atomic", "Array"])
def test_names_are_of_one_part(first: str, second: str) -> None:
    make = PARTS[first], PARTS[second]
    refused(r"mine: there is a Twice.part already", setup=again(*make))
    refused(r"mine: there is a part already", setup=again(lambda _: make[0](None), lambda _: make[1](None)))
    refused(r"mine: there is a Twice.lock already", setup=again(lambda twice: Mutex(twice, "lock")))
    task = lambda twice: (make[0](twice), make[1](twice))  # noqa: E731
    refused(r"mine: there is a Twice.part already", write, task, setup=again())


def test_names_are_of_one_part_in_tasks_too() -> None:
    refused("there is a Twice.lock already", write, lambda twice: SpinLock(twice, "lock"), setup=again())
    refused("there is a count already", write, lambda _: Atomic(None, "count"), setup=again())
    refused("there is a q already", setup=again(lambda _: (WorkQueue("q"), WorkQueue("q"))))
    refused(
        "Twice.annotated is a SpinLock, and by its annotation a field", setup=again(lambda t: SpinLock(t, "annotated"))
    )
    refused("part lock is of a list: its owner has to be Shared", setup=again(lambda _: SpinLock([], "lock")))  # type: ignore[arg-type]
    refused("there is a rcu already", setup=again(lambda _: SpinLock(None, "rcu")))


GLOBAL = Atomic(None, "global"), SpinLock(None, "outside")


@pytest.mark.parametrize(
    "use", [lambda _: GLOBAL[0].add(1), lambda _: GLOBAL[1].acquire(), lambda _: GLOBAL[1].try_acquire()]
)
def test_parts_that_outlive_an_execution(use: Callable[[System], object]) -> None:
    refused(r"(global|outside) was made outside setup and tasks", use, use)


class Apart(Shared):
    """A part of it for each."""

    def __init__(self) -> None:
        self.a, self.b = Atomic(self, "a"), Atomic(self, "b")
        self.lock, self.other = SpinLock(self, "lock"), SpinLock(self, "other")


def test_tasks_that_never_meet() -> None:
    def one(apart: Apart) -> None:
        with apart.lock:
            apart.a.add(1)

    def two(apart: Apart) -> None:
        with apart.other:
            apart.b.add(1)

    refused("mine: no two tasks have touched the same", one, two, setup=Apart)
    refused("mine: no two tasks have touched the same", lambda _: None, lambda _: None)
    assert isinstance(explore(Program("alone", Apart, {"CPU0": one})), Holds)


class Number(int):
    """With a place for attributes."""


class Pair(tuple[int, ...]):
    """The same."""


class Text(str):
    """None here."""

    __slots__ = ()


class Wider(Atomic):
    """A part with more than what it has operations for."""


class Slotted(Atomic):
    """The same."""

    __slots__ = ("extra",)


@pytest.mark.parametrize("value", [Number(3), Pair((1,))])
def test_constants_have_no_attributes(value: object) -> None:
    refused(f"System s.held holds a {type(value).__name__}, .*give its class `__slots__", setup=lambda: System(value))
    refused("System s.pointer holds a", write, stores(lambda: value))


def test_constants_without_attributes_are_fine() -> None:
    assert isinstance(explore(Program("fine", lambda: System(Text("a")), {"CPU0": write, "CPU1": write})), Holds)


@dataclass(frozen=True)
class Hiding:
    """Holds more than its fields say."""

    x: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "seen", [])


def test_what_is_frozen_hides_nothing() -> None:
    refused("System s.held holds a list, whose changes", setup=lambda: System(Hiding(1)))


@pytest.mark.parametrize("kind", [Wider, Slotted])
def test_parts_have_no_attributes_of_their_own(kind: type[Atomic]) -> None:
    refused(f"Twice.part is a {kind.__name__}, which has attributes", setup=again(lambda twice: kind(twice, "part")))


def test_shared_classes_have_no_slots() -> None:
    with pytest.raises(Refused, match="class Hidden has __slots__, which nobody could watch"):

        class Hidden(Shared):
            __slots__ = ("items",)
