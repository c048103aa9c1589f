"""Objects that tasks share, their fields, and how a field is accessed.

A class that derives from `Shared` declares its shared fields by annotations: reading ``memcg.id`` is a plain load,
``READ_ONCE(memcg).id`` a marked one. Attributes without annotation, and those marked `Final`, are set once, before
any other task sees the object, and are no shared state. Unless they are watched, all are Python's own attribute access.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum
from typing import Any, ClassVar, NoReturn, Protocol, TypeVar, cast
from zlib import crc32

from swaplab.kernel.sync.bugs import DoubleFree, NullDereference, Refused, UseAfterFree
from swaplab.kernel.sync.runtime import ACQUIRE, PLAIN, RACY, READ, RELEASE, WRITE, current

__all__ = [
    "READ_ONCE",
    "WRITE_ONCE",
    "Element",
    "Elements",
    "Key",
    "Made",
    "Part",
    "Shared",
    "Watcher",
    "data_race",
    "is_freed",
    "is_watched",
    "kfree",
    "looked_at",
    "poison",
    "rcu_assign_pointer",
    "rcu_dereference",
    "smp_load_acquire",
    "smp_store_release",
    "watched_by",
]

S = TypeVar("S", bound="Shared | Elements")
UNWATCHED = re.compile(r"(\w+\.)*(Final|ClassVar)\b")
"""Annotations of attributes that are no shared fields."""

Made = tuple[list[int], int, str]
"""How many objects of a class a task has made, which of them this is, and the name of the task; empty for setup."""
ALONE: Made = ([1], 1, "")


class SharedType(type):
    """Shows a watcher that objects are made."""


class Shared(metaclass=SharedType):
    """An object that tasks share.

    Attributes:
        freed: whether it was freed, and poisoned.
        is_handle: whether it stands for an open file: its maker may let go of it, which loses nothing.
        fields: names of its shared fields.
        defaults: what those hold at first that the class itself has a value for.
        classes: all that derive from it.
    """

    freed: ClassVar[bool] = False
    is_handle: ClassVar[bool] = False
    fields: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[dict[str, object]] = {}
    classes: ClassVar[list[type[Shared]]] = []

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if _watchers:
            _watchers[-1].define(cls)
        if vars(cls).get("__slots__"):
            raise Refused(f"class {cls.__name__} has __slots__, which nobody could watch: annotate its fields instead")
        if cls.__new__ is not object.__new__:
            base = next(each for each in cls.__mro__ if "__new__" in vars(each))
            raise Refused(
                f"class {cls.__name__} is made by {base.__name__}.__new__, and nobody could watch what that keeps:"
                " derive it from Shared alone, and use an Array, a Table or a Bitmap, and __init__"
            )
        own = (name for name, kind in cls.__annotations__.items() if not UNWATCHED.match(str(kind)))
        cls.fields = (*cls.fields, *own)
        for name in cls.fields:
            value = vars(cls).get(name)
            if hasattr(value, "__get__") and not isinstance(value, _Freed):
                raise Refused(
                    f"class {cls.__name__} makes {name} a {type(value).__name__}, and it is a field, by its"
                    " annotation: give one of them another name"
                )
        cls.defaults = {name: getattr(cls, name) for name in cls.fields if hasattr(cls, name)}
        cls.classes.append(cls)

    def __hash__(self) -> int:
        """Hash it by its number, if it has one, so that sets of objects have the same order in every execution."""
        number: int | None = self.__dict__.get("_number")
        return object.__hash__(self) if number is None else number

    @property
    def label(self) -> str:
        """How texts call it: by its name, or by a number among those of its class that the same made.

        ``MemCgroup child``, ``Folio#2``, ``Folio#1@CPU0`` for the first that task CPU0 made; of what the setup made,
        the only one of its class has no number.
        """
        name, kind = self.__dict__.get("name"), type(self).__name__
        if name is not None:
            return f"{kind} {name}"
        tally, number, maker = self.__dict__.get("_made", ALONE)
        if maker:
            return f"{kind}#{number}@{maker}"
        return f"{kind}#{number}" if tally[0] > 1 else kind


class Part:
    """Something inside a shared object that is operated on as a whole: a lock, a list, a counter.

    Those that are made all the time call this by its name: super() would take twice as long as all else.

    Args:
        owner: the object it is part of; none for what is global.
        name: of the member.
    """

    __slots__ = ("name", "owner")

    def __init__(self, owner: Shared | None, name: str) -> None:
        self.owner = owner
        self.name = name

    def __hash__(self) -> int:
        """Hash it by what it is called, for the same reason."""
        return (0 if self.owner is None else Shared.__hash__(self.owner)) ^ crc32(self.name.encode())

    @property
    def label(self) -> str:
        """How texts call it."""
        return self.name if self.owner is None else f"{self.owner.label}.{self.name}"


class Elements(Part):
    """A part made of elements, each of which is a part of its own, made when it is first needed."""

    __slots__ = ("elements",)

    def __init__(self, owner: Shared | None, name: str) -> None:
        Part.__init__(self, owner, name)
        self.elements: dict[Any, Part] = {}

    def element(self, key: Any) -> Part:
        """Return an element by its index or key."""
        return self.elements.get(key) or self.elements.setdefault(key, self._make(key))

    def _make(self, key: Any) -> Part:
        raise NotImplementedError

    def peek(self, key: Any) -> object:
        """Return what an element is now, as a look from outside that is no operation of a task."""
        raise NotImplementedError

    def present(self) -> Hashable:
        """Return the keys of what is there now, as such a look: as far as an operation tells their order, in it."""
        raise NotImplementedError

    def marked(self, read: int, write: int) -> object:
        """Return these elements as they are accessed with other modes."""
        raise TypeError(f"the elements of {self.label} are accessed atomically, and have no marks")


class Element(Part):
    """One of the elements of a part.

    Attributes:
        whole: what it is an element of.
        key: which.
    """

    __slots__ = ("key", "whole")

    def __init__(self, whole: Elements, key: int | str) -> None:
        Part.__init__(self, whole.owner, f"{whole.name}[{key!r}]")
        self.whole = whole
        self.key = key


class Key(Element):
    """An element that may be absent: whether it is there is a variable of the whole, too."""

    __slots__ = ()


class _Freed:
    """Stands for a field of an object that was freed."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, thing: Shared | None, owner: type) -> Any:
        if thing is None:
            return self
        raise UseAfterFree(f"{thing.label}.{self.name} is read after it was freed")

    def __set__(self, thing: Shared, value: Any) -> None:
        raise UseAfterFree(f"{thing.label}.{self.name} is written after it was freed")


_FREED: dict[type, type] = {}


def poison(thing: Shared) -> None:
    """Make every later use of an object's fields, and of what has elements, a `UseAfterFree`.

    Raises:
        DoubleFree: it was freed before.
    """
    kind = type(thing)
    if kind.freed:
        raise DoubleFree(f"{thing.label} is freed twice")
    poisoned = _FREED.get(kind)
    if poisoned is None:
        elements = (name for name, value in thing.__dict__.items() if isinstance(value, Elements))
        fields = {name: _Freed(name) for name in (*kind.fields, *elements)}
        poisoned = SharedType(kind.__name__, (kind,), {"__annotations__": {}, "freed": True, **fields})
        _FREED[kind] = poisoned
    thing.__class__ = poisoned


def is_freed(thing: Shared) -> bool:
    """Tell whether an object was freed, under whichever runtime.

    For invariants and other looks from outside: a task cannot ask that of a pointer. One that does uses the object.
    """
    if _watchers:
        _watchers[-1].look(thing)
    return type(thing).freed or "_freed" in thing.__dict__


def kfree(thing: Shared) -> None:
    """Free an object: from now on no task may use it.

    Raises:
        DoubleFree: it was freed before.
    """
    current.runtime.free(thing)


class Watcher(Protocol):
    """A watcher of operations on shared objects."""

    @property
    def task(self) -> object:
        """The running task: its operations have to be seen, or refused. None while the system is set up."""

    def read(self, thing: Shared, name: str, mode: int) -> Any:
        """Read a field."""

    def write(self, thing: Shared, name: str, mode: int, value: Any) -> None:
        """Write a field."""

    def look(self, thing: Shared) -> None:
        """Look whether an object is alive."""

    def make(self, kind: type[Shared], args: tuple[Any, ...], names: dict[str, Any]) -> Shared:
        """Make an object."""

    @property
    def is_checking(self) -> bool:
        """Whether invariants look, so that nothing may change."""

    def enter(self, part: Part) -> None:
        """Take note of a part, which has its owner and its name."""

    def change(self, thing: Shared, name: str) -> None:
        """Say whether a task may set or delete an attribute that is no field."""

    def define(self, kind: type[Shared]) -> None:
        """Say whether a class may be defined, or one of its attributes be set."""


class _Watched:
    """A field whose accesses are watched."""

    def __init__(self, name: str, watcher: Watcher) -> None:
        self.name = name
        self.watcher = watcher

    def __get__(self, thing: Shared | None, owner: type[Shared]) -> Any:
        if thing is None:
            return owner.defaults.get(self.name, self)
        return self.watcher.read(thing, self.name, READ | PLAIN)

    def __set__(self, thing: Shared, value: Any) -> None:
        self.watcher.write(thing, self.name, WRITE | PLAIN, value)


class _Marked:
    """An object whose fields are accessed with a mode other than plain."""

    __slots__ = ("_access",)

    def __init__(self, thing: Shared, read: int, write: int, watcher: Watcher) -> None:
        object.__setattr__(self, "_access", (thing, read, write, watcher))

    def __getattr__(self, name: str) -> Any:
        thing, read, _, watcher = self._access
        _insist_on_field(thing, name)
        return watcher.read(thing, name, read)

    def __setattr__(self, name: str, value: Any) -> None:
        thing, _, write, watcher = self._access
        _insist_on_field(thing, name)
        watcher.write(thing, name, write, value)


class _Null:
    """A null pointer, accessed with a mode other than plain: unlike Python's own error, that stays said."""

    __slots__ = ("_watcher",)

    def __init__(self, watcher: Watcher) -> None:
        object.__setattr__(self, "_watcher", watcher)

    def _follow(self, what: object) -> NoReturn:
        who = getattr(self._watcher.task, "name", "the program")
        raise NullDereference(f"{who} follows a null pointer to its {what}")

    def __getattr__(self, name: str) -> NoReturn:
        self._follow(name)

    def __setattr__(self, name: str, value: object) -> None:
        self._follow(name)

    def __getitem__(self, key: object) -> NoReturn:
        self._follow(f"element {key!r}")

    def __setitem__(self, key: object, value: object) -> None:
        self._follow(f"element {key!r}")


def _insist_on_field(thing: Shared, name: str) -> None:
    """Insist on a name among those that the class of an object annotates.

    Raises:
        Refused: it is not.
    """
    fields = type(thing).fields
    if name not in fields:
        kind = type(thing).__name__
        raise Refused(f"{kind} has no shared field {name}: its annotations name {', '.join(fields) or 'none'}")


_watchers: list[Watcher] = []


def is_watched() -> bool:
    """Tell whether accesses are watched."""
    return bool(_watchers)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Let a watcher do every access to a shared field, and make objects, inside the block."""
    classes = [cls for cls in Shared.classes if not cls.freed]
    own = {(cls, name): vars(cls)[name] for cls in classes for name in cls.fields if name in vars(cls)}
    for cls in classes:
        for name in cls.fields:
            setattr(cls, name, _Watched(name, watcher))
    _watchers.append(watcher)
    try:
        with ExitStack() as stack:
            for kind, name, function in _hooks(watcher):
                stack.enter_context(_replaced(kind, name, function))
            yield
    finally:
        _watchers.pop()
        for cls in classes:
            for name in cls.fields:
                delattr(cls, name)
        for (cls, name), value in own.items():
            setattr(cls, name, value)


@contextmanager
def _replaced(kind: type, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Have a class do something in another way inside the block."""
    original = vars(kind).get(name)
    setattr(kind, name, function)
    try:
        yield
    finally:
        if original is None:
            delattr(kind, name)
        else:
            setattr(kind, name, original)


def _hooks(watcher: Watcher) -> tuple[tuple[type, str, Callable[..., Any]], ...]:
    """Return functions that take the place of Python's own: unlike bound methods, they are given the object."""

    def call(kind: type[Shared], *args: Any, **names: Any) -> Shared:
        return watcher.make(kind, args, names)

    def begin_part(part: Part, owner: Shared | None, name: str) -> None:
        part.owner, part.name = owner, name
        watcher.enter(part)

    def set_on_object(thing: Shared, name: str, value: object) -> None:
        if name == "__orig_class__":
            return  # of a generic class, and for type checkers
        if (watcher.task is not None or watcher.is_checking) and name not in type(thing).fields:
            watcher.change(thing, name)
        object.__setattr__(thing, name, value)

    def delete_on_object(thing: Shared, name: str) -> None:
        if watcher.task is not None or watcher.is_checking:
            watcher.change(thing, name)
        object.__delattr__(thing, name)

    def set_on_member(member: Enum, name: str, value: object) -> None:
        if watcher.task is not None:
            raise Refused(
                f"{member} is given an attribute {name}, which outlives an execution: keep it in a field of an object"
            )
        object.__setattr__(member, name, value)

    def set_on_class(kind: type[Shared], name: str, value: object) -> None:
        watcher.define(kind)
        type.__setattr__(kind, name, value)

    def copied(thing: Shared, *_: object) -> NoReturn:
        raise Refused(
            f"{thing.label} is copied, or pickled, with all its fields at once, and nobody would see that: make"
            " another, and read field by field"
        )

    return (
        (SharedType, "__call__", call),
        *((Shared, name, copied) for name in ("__reduce_ex__", "__reduce__", "__getstate__")),
        (Part, "__init__", begin_part),
        (Shared, "__setattr__", set_on_object),
        (Shared, "__delattr__", delete_on_object),
        (SharedType, "__setattr__", set_on_class),
        (Enum, "__setattr__", set_on_member),
    )


@contextmanager
def looked_at(note: Callable[[Part], None]) -> Iterator[None]:
    """Have every look at a part announced inside the block, also one that is no operation."""

    def look(part: Part, name: str) -> Any:
        if name not in ("label", "name", "owner"):
            note(part)
        return object.__getattribute__(part, name)

    Part.__getattribute__ = look  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del Part.__getattribute__


def _marked(thing: S, read: int, write: int) -> S:
    if thing is None:
        return cast(S, _Null(_watchers[-1]))
    if isinstance(thing, Shared):
        return cast(S, _Marked(thing, read, write, _watchers[-1]))
    if isinstance(thing, Elements):
        return cast(S, thing.marked(read, write))
    raise Refused(
        f"an access to a {type(thing).__name__} is marked, which nobody watches: only what is Shared has fields, and"
        " only arrays and tables have elements"
    )


def READ_ONCE(thing: S) -> S:  # noqa: N802
    """Access fields, or elements, with marked, relaxed loads: ``READ_ONCE(memcg).kmemcg_id``, ``READ_ONCE(map)[3]``."""
    return _marked(thing, READ, WRITE) if _watchers else thing


def WRITE_ONCE(thing: S) -> S:  # noqa: N802
    """Access fields, or elements, with marked, relaxed stores: ``WRITE_ONCE(memcg).kmemcg_id = 3``."""
    return _marked(thing, READ, WRITE) if _watchers else thing


def smp_load_acquire(thing: S) -> S:
    """Load fields so that what was stored before their release is seen."""
    return _marked(thing, READ | ACQUIRE, WRITE) if _watchers else thing


def smp_store_release(thing: S) -> S:
    """Store fields so that a task that loads them with acquire sees all earlier stores."""
    return _marked(thing, READ, WRITE | RELEASE) if _watchers else thing


def rcu_dereference(thing: S) -> S:
    """Load pointers to objects that stay alive in this RCU section; through them these are seen initialised.

    A marked, relaxed load: it orders what depends on its address, and nothing else.
    """
    return _marked(thing, READ, WRITE) if _watchers else thing


def rcu_assign_pointer(thing: S) -> S:
    """Publish pointers to objects that are initialised."""
    return _marked(thing, READ, WRITE | RELEASE) if _watchers else thing


def data_race(thing: S) -> S:
    """Access fields where a race is known and harmless: it is not reported, for any other access."""
    return _marked(thing, READ | RACY, WRITE | RACY) if _watchers else thing
