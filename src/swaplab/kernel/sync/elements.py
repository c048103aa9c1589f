"""Arrays, tables and bitmaps of shared objects: every element is a variable of its own.

An element holds something immutable, or a pointer to a shared object. It is accessed as a field is: ``map[5]`` is a
plain load, ``READ_ONCE(map)[5]`` a marked one, and so on for stores. Bits of a bitmap are changed atomically.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from swaplab.kernel.sync.bugs import KernelWarning
from swaplab.kernel.sync.runtime import FULL, PLAIN, READ, RMW, WRITE, current, operation, outside
from swaplab.kernel.sync.shared import Element, Elements, Key, Part, Shared, is_watched

__all__ = ["Array", "Bitmap", "Table"]

T = TypeVar("T")
K = TypeVar("K", int, str)


class _Numbered(Elements):
    """As many elements as there are at first."""

    __slots__ = ("_items",)
    _items: Any
    items: Any = outside("_items")

    def __len__(self) -> int:
        """Return how many elements there are, which never changes."""
        return len(self._items)

    def _make(self, index: int) -> Part:
        if not isinstance(index, int) or not 0 <= index < len(self._items):
            raise IndexError(f"{self.label}[{index!r}]: there are {len(self._items)} elements, from 0 on")
        return Element(self, index)

    def peek(self, index: int) -> object:
        """Return what an element is now."""
        return self._items[index]


class Array(_Numbered, Generic[T]):
    """An array of fixed size.

    Args:
        owner: the object it is part of; none for a global one.
        name: of the member.
        values: of its elements at first, a list or bytearray that is the array's from now on.

    Attributes:
        items: these; for looks from outside that are no operation of a task.
    """

    __slots__ = ()

    def __init__(self, owner: Shared | None, name: str, values: list[T] | bytearray) -> None:
        Elements.__init__(self, owner, name)
        self._items = values

    @operation(READ | PLAIN, "read", at=Elements.element)
    def __getitem__(self, index: int) -> T:
        return self._items[index]  # type: ignore[no-any-return]

    def _store(self, index: int, value: T) -> None:
        """Store an element, as whichever operation does.

        Raises:
            KernelWarning: it is a count of bytes below zero, or too large for one.
        """
        try:
            self._items[index] = value
        except ValueError:
            raise KernelWarning(f"{self.label}[{index}] is set to {value}, and holds 0 to 255") from None

    __setitem__ = operation(WRITE | PLAIN, "write", at=Elements.element)(_store)

    def __iter__(self) -> Iterator[T]:
        """Read one element after the other."""
        return (self[index] for index in range(len(self._items)))

    def find(self, run: bytes, start: int = 0) -> int:
        """Read an array of bytes from `start` on up to those of `run` in a row; return where they are, or -1."""
        return _find(self, run, start) if is_watched() else self._items.find(run, start)

    def marked(self, read: int, write: int) -> _Marked:
        """Return the array as it is accessed with other modes."""
        return _Marked(self, read, write)


def _find(array: Array[Any] | _Marked, run: bytes, start: int) -> int:
    at = start
    while at + len(run) <= len(array):
        other = next((offset for offset, byte in enumerate(run) if array[at + offset] != byte), None)
        if other is None:
            return at
        at += other + 1 if len(set(run)) == 1 else 1
    return -1


class Bitmap(_Numbered):
    """Bits, each of which is changed atomically: include/linux/bitops.h.

    Args:
        owner: the object it is part of; none for a global one.
        name: of the member.
        bits: how many; all clear.

    Attributes:
        items: one byte per bit; for looks from outside that are no operation of a task.
    """

    __slots__ = ()

    def __init__(self, owner: Shared | None, name: str, bits: int) -> None:
        Elements.__init__(self, owner, name)
        self._items = bytearray(bits)

    @operation(WRITE | RMW, "set_bit", at=Elements.element)
    def set_bit(self, nr: int) -> None:
        """set_bit, which orders nothing."""
        self._items[nr] = 1

    @operation(WRITE | RMW, "clear_bit", at=Elements.element)
    def clear_bit(self, nr: int) -> None:
        """clear_bit, which orders nothing."""
        self._items[nr] = 0

    @operation(READ, "test_bit", at=Elements.element)
    def test_bit(self, nr: int) -> bool:
        """test_bit, which orders nothing."""
        return bool(self._items[nr])

    @operation(FULL, "test_and_set_bit", at=Elements.element)
    def test_and_set_bit(self, nr: int) -> bool:
        """test_and_set_bit: return what it was. Fully ordered."""
        found, self._items[nr] = self._items[nr], 1
        return bool(found)

    @operation(FULL, "test_and_clear_bit", at=Elements.element)
    def test_and_clear_bit(self, nr: int) -> bool:
        """test_and_clear_bit: return what it was. Fully ordered."""
        found, self._items[nr] = self._items[nr], 0
        return bool(found)


class Table(Elements, Generic[K, T]):
    """Elements by a key, an integer or a text; an element may be absent.

    Which keys there are is a variable besides: additions and removals of different keys do not depend on each other,
    but `keys` and `len` depend on them.

    Args:
        owner: the object it is part of; none for a global one.
        name: of the member.

    Attributes:
        items: what is there, by key; for looks from outside that are no operation of a task.
    """

    __slots__ = ("_items",)
    items: dict[K, T] = outside("_items")

    def __init__(self, owner: Shared | None, name: str) -> None:
        Elements.__init__(self, owner, name)
        self._items: dict[K, T] = {}

    def _make(self, key: object) -> Part:
        if not isinstance(key, int | str):
            raise TypeError(f"{self.label}: a key is an integer or a text, this is {key!r}")
        return Key(self, key)

    def peek(self, key: K) -> object:
        """Return what an element is now, in a tuple; an empty one if it is absent."""
        return (self._items[key],) if key in self._items else ()

    def present(self) -> tuple[K, ...]:
        """Return the keys that there are now, in ascending order: numbers come before texts."""
        return tuple(sorted(self._items, key=lambda key: (isinstance(key, str), key)))

    @operation(READ | PLAIN, "read", at=Elements.element)
    def __getitem__(self, key: K) -> T:
        return self._items[key]

    @operation(READ | PLAIN, "read", at=Elements.element)
    def get(self, key: K) -> T | None:
        """Read an element; None if it is absent."""
        return self._items.get(key)

    @operation(READ | PLAIN, "read", at=Elements.element)
    def __contains__(self, key: K) -> bool:
        return key in self._items

    def _store(self, key: K, value: T) -> None:
        """Store an element, as whichever operation does."""
        self._items[key] = value

    __setitem__ = operation(WRITE | PLAIN, "write", at=Elements.element)(_store)

    @operation(WRITE | PLAIN, "remove", at=Elements.element)
    def pop(self, key: K) -> T | None:
        """Remove an element and return it; None if it is absent."""
        return self._items.pop(key, None)

    @operation(READ | PLAIN, "keys")
    def keys(self) -> tuple[K, ...]:
        """Return all keys in ascending order, as additions have no order of their own."""
        return self.present()

    @operation(READ | PLAIN, "len")
    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[K]:
        """Go through the keys that there are now."""
        return iter(self.keys())

    def marked(self, read: int, write: int) -> _Marked:
        """Return the table as it is accessed with other modes."""
        return _Marked(self, read, write)


class _Marked:
    """An array or a table whose elements are accessed with a mode other than plain."""

    __slots__ = ("_read", "_whole", "_write")

    def __init__(self, whole: Array[Any] | Table[Any, Any], read: int, write: int) -> None:
        self._whole, self._read, self._write = whole, read, write

    def _step(self, mode: int, what: str, key: Any, do: Callable[..., Any], *values: Any) -> Any:
        step = current.runtime.step
        assert step
        return step(self._whole.element(key), mode, what, lambda _, *values: do(self._whole._items, *values), *values)

    def __len__(self) -> int:
        return len(self._whole)

    def __getitem__(self, key: Any) -> Any:
        return self._step(self._read, "read", key, lambda items: items[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        def write(_: object, value: Any) -> Any:
            self._whole._store(key, value)
            return value

        self._step(self._write, "write", key, write, value)

    def __contains__(self, key: Any) -> bool:
        return bool(self._step(self._read, "read", key, lambda items: key in items))

    def get(self, key: Any) -> Any:
        """As that of a table."""
        return self._step(self._read, "read", key, lambda items: items.get(key))

    def pop(self, key: Any) -> Any:
        """As that of a table."""
        return self._step(self._write, "remove", key, lambda items: items.pop(key, None))

    def find(self, run: bytes, start: int = 0) -> int:
        """As that of an array."""
        return _find(self, run, start)
