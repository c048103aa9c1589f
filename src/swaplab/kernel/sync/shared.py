"""Objects that tasks share, their fields, and how a field is accessed.

A class that derives from `Shared` declares its shared fields by annotations. Those marked `Final` are set once, before
anybody else sees the object, and are no shared state. All others are plain fields: reading ``memcg.id`` is a plain
load, ``READ_ONCE(memcg).id`` a marked one. As long as nobody watches, both are Python's own attribute access.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar, cast

from swaplab.kernel.sync.bugs import DoubleFree, Refused, UseAfterFree
from swaplab.kernel.sync.runtime import ACQUIRE, PLAIN, RACY, READ, RELEASE, WRITE, current

__all__ = [
    "READ_ONCE",
    "WRITE_ONCE",
    "Elements",
    "Key",
    "Made",
    "Part",
    "Shared",
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
    "watched",
]

S = TypeVar("S", bound="Shared | Elements")


Made = tuple[list[int], int, str]
"""How many objects of a class somebody has made, which of them this is, and the name of the task if it was one."""
ALONE: Made = ([1], 1, "")


class SharedType(type):
    """Lets whoever watches see objects being made."""


class Shared(metaclass=SharedType):
    """An object that tasks share."""

    freed: ClassVar[bool] = False
    fields: ClassVar[tuple[str, ...]] = ()
    classes: ClassVar[list[type[Shared]]] = []

    def __init_subclass__(cls) -> None:
        own = (name for name, kind in cls.__annotations__.items() if not str(kind).startswith(("Final", "ClassVar")))
        cls.fields = (*cls.fields, *own)
        cls.classes.append(cls)

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

    @property
    def label(self) -> str:
        """How texts call it."""
        return f"{self.owner.label}.{self.name}" if self.owner else self.name


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

    def marked(self, read: int, write: int) -> object:
        """Return these elements as they are accessed with other modes."""
        raise TypeError(f"the elements of {self.label} are accessed atomically, and have no marks")


class Key(Part):
    """An element that may be absent: whether it is there is a variable of the whole, too.

    Attributes:
        whole: what it is an element of.
    """

    __slots__ = ("whole",)

    def __init__(self, whole: Part, key: int | str) -> None:
        Part.__init__(self, whole.owner, f"{whole.name}[{key!r}]")
        self.whole = whole


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
    if _watch:
        _watch[-1](thing, "", READ)
    return type(thing).freed or "_freed" in thing.__dict__


def kfree(thing: Shared) -> None:
    """Free an object: from now on nobody may use it.

    Raises:
        DoubleFree: it was freed before.
    """
    current.runtime.free(thing)


def _value(thing: Shared, name: str) -> Any:
    try:
        return thing.__dict__[name]
    except KeyError:
        raise AttributeError(f"{thing.label} has no {name} yet") from None


class _Watched:
    """A field whose accesses somebody watches."""

    def __init__(self, name: str, watch: Callable[[Shared, str, int], None]) -> None:
        self.name = name
        self.watch = watch

    def __get__(self, thing: Shared | None, owner: type) -> Any:
        if thing is None:
            return self
        self.watch(thing, self.name, READ | PLAIN)
        return _value(thing, self.name)

    def __set__(self, thing: Shared, value: Any) -> None:
        self.watch(thing, self.name, WRITE | PLAIN)
        thing.__dict__[self.name] = value


class _Marked:
    """An object whose fields are accessed with a mode other than plain."""

    __slots__ = ("_access",)

    def __init__(self, thing: Shared, read: int, write: int, watch: Callable[[Shared, str, int], None]) -> None:
        object.__setattr__(self, "_access", (thing, read, write, watch))

    def __getattr__(self, name: str) -> Any:
        thing, read, _, watch = self._access
        _insist_on_field(thing, name)
        watch(thing, name, read)
        return _value(thing, name)

    def __setattr__(self, name: str, value: Any) -> None:
        thing, _, write, watch = self._access
        _insist_on_field(thing, name)
        watch(thing, name, write)
        thing.__dict__[name] = value


def _insist_on_field(thing: Shared, name: str) -> None:
    """Insist on a name among those that the class of an object annotates.

    Raises:
        Refused: it is not.
    """
    fields = type(thing).fields
    if name not in fields:
        kind = type(thing).__name__
        raise Refused(f"{kind} has no shared field {name}: its annotations name {', '.join(fields) or 'none'}")


_watch: list[Callable[[Shared, str, int], None]] = []


def is_watched() -> bool:
    """Tell whether somebody watches accesses."""
    return bool(_watch)


@contextmanager
def watched(watch: Callable[[Shared, str, int], None], make: Callable[..., Any]) -> Iterator[None]:
    """Have every access to a shared field announced, and objects made by `make`, inside the block.

    Args:
        watch: called with object, field and mode before the access.
        make: called with class and arguments instead of the class itself.
    """

    def call(kind: type[Shared], *args: Any, **names: Any) -> Any:
        return make(kind, *args, **names)  # a function, unlike a bound method, is given the class

    classes = [cls for cls in Shared.classes if not cls.freed]
    for cls in classes:
        for name in cls.fields:
            setattr(cls, name, _Watched(name, watch))
    SharedType.__call__ = call  # type: ignore[method-assign, assignment]
    _watch.append(watch)
    try:
        yield
    finally:
        _watch.pop()
        del SharedType.__call__
        for cls in classes:
            for name in cls.fields:
                delattr(cls, name)


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
    # A null pointer has no fields to mark: Python refuses the access by its name.
    if thing is None:
        return thing
    marked = thing.marked(read, write) if isinstance(thing, Elements) else _Marked(thing, read, write, _watch[-1])
    return cast(S, marked)


def READ_ONCE(thing: S) -> S:  # noqa: N802
    """Access fields, or elements, with marked, relaxed loads: ``READ_ONCE(memcg).kmemcg_id``, ``READ_ONCE(map)[3]``."""
    return _marked(thing, READ, WRITE) if _watch else thing


def WRITE_ONCE(thing: S) -> S:  # noqa: N802
    """Access fields, or elements, with marked, relaxed stores: ``WRITE_ONCE(memcg).kmemcg_id = 3``."""
    return _marked(thing, READ, WRITE) if _watch else thing


def smp_load_acquire(thing: S) -> S:
    """Load fields so that what was stored before their release is seen."""
    return _marked(thing, READ | ACQUIRE, WRITE) if _watch else thing


def smp_store_release(thing: S) -> S:
    """Store fields so that who loads them with acquire sees what was stored before."""
    return _marked(thing, READ, WRITE | RELEASE) if _watch else thing


def rcu_dereference(thing: S) -> S:
    """Load pointers to objects that stay alive in this RCU section; through them these are seen initialised.

    A marked, relaxed load: it orders what depends on its address, and nothing else.
    """
    return _marked(thing, READ, WRITE) if _watch else thing


def rcu_assign_pointer(thing: S) -> S:
    """Publish pointers to objects that are initialised."""
    return _marked(thing, READ, WRITE | RELEASE) if _watch else thing


def data_race(thing: S) -> S:
    """Access fields where a race is known and harmless: it is not reported, whatever the other access is."""
    return _marked(thing, READ | RACY, WRITE | RACY) if _watch else thing
