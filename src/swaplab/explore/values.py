"""What shared state may hold: what is watched itself, and what never changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from enum import Enum
from functools import partial
from pathlib import PurePath
from re import Pattern
from struct import Struct
from types import (
    BuiltinFunctionType,
    CellType,
    FunctionType,
    MappingProxyType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)

import msgspec
import numpy as np

from swaplab.kernel.sync.bugs import Refused
from swaplab.kernel.sync.runtime import operation
from swaplab.kernel.sync.shared import Part, Shared

__all__ = [
    "NEVER_CHANGES",
    "attributes",
    "cell_contents",
    "cells",
    "contents",
    "holds_more",
    "insist_constant",
    "instead_of",
    "is_bare",
    "is_fine",
    "mutable_in",
    "told",
]

NEVER_CHANGES = frozenset(
    (int, str, bytes, float, bool, complex, type(None), range, type(Ellipsis), type(NotImplemented))
)
"""Types whose values never change."""
CONSTANT: tuple[type, ...] = (
    *(Shared, Part, type, ModuleType, PurePath, Pattern, Struct, np.generic, np.dtype),
    *(MethodDescriptorType, MemberDescriptorType, WrapperDescriptorType),
)
"""Types whose values are watched themselves, or never change."""
PLAIN = (int, str, bytes, float, complex, tuple, frozenset)
"""Types whose values never change, unless a class that derives from them gives them attributes."""
SPECIAL = ("__dict__", "__weakref__")
OF_ITEMS = (list, bytearray)
"""What an array has its elements in."""
OWN = frozenset(("_holder", "name", "owner", "token"))
"""State that a part keeps by its own operations; no caller passes it."""
INSTEAD: tuple[tuple[type | tuple[type, ...], str], ...] = (
    ((list, bytearray, np.ndarray, memoryview), "use an Array, whose elements are watched, a ListHead, or a tuple"),
    (dict, "use a Table or an XArray, whose elements are watched, or types.MappingProxyType if it never changes"),
    (set, "use a Bitmap or a Table, whose elements are watched, or a frozenset"),
    (
        PLAIN,
        "give its class `__slots__ = ()`, so that it has no attributes, or use a plain value",
    ),
    ((Iterator, Iterable), "use an Array, a Table or a ListHead, whose elements are watched, or a tuple"),
    (object, "derive its class from Shared, or make it a frozen dataclass or a NamedTuple"),
)


def instead_of(value: object) -> str:
    """Say what to use instead of something that changes unseen."""
    return next(text for kinds, text in INSTEAD if isinstance(value, kinds))


def is_bare(call: object) -> bool:
    """Tell of a function, or a method of what is watched, whether nothing is bound to it beside."""
    if type(call) is MethodType and isinstance(call.__self__, Shared | Part):
        call = call.__func__
    return (
        type(call) is FunctionType
        and call.__closure__ is None
        and call.__defaults__ is None
        and call.__kwdefaults__ is None
    )


def is_fine(value: object) -> bool:
    """Tell of what a task gives away whether it never changes, or is watched, and made; most is."""
    if type(value) in NEVER_CHANGES:
        return True
    if isinstance(value, Shared):
        return "_made" in value.__dict__
    if isinstance(value, Part):
        return value.owner is None or "_made" in value.owner.__dict__
    return mutable_in(value) is None


def told(value: object) -> object:
    """Return what can be compared of a value with what it was in another execution."""
    if type(value) in NEVER_CHANGES or isinstance(value, Enum):
        return value
    if isinstance(value, Shared):
        return f"{value.label} (object {value.__dict__.get('_number')})"
    if isinstance(value, Part):
        return f"{value.name} of {told(value.owner)}"
    if isinstance(value, tuple | list | dict | slice):
        inside = value.items() if isinstance(value, dict) else _of_slice(value) if isinstance(value, slice) else value
        return tuple([each if type(each) in NEVER_CHANGES else told(each) for each in inside])
    if isinstance(value, np.generic | msgspec.Struct) or is_dataclass(value):
        return repr(value)
    return getattr(value, "__qualname__", type(value).__name__)


def contents(part: Part) -> Iterator[object]:
    """Return what a part has been given to hold: its elements, what it points at, and what it calls."""
    for kind in type(part).__mro__:
        for name in vars(kind).get("__slots__", ()):
            value = getattr(part, name, None)
            if name not in OWN:
                yield from (
                    value.values() if isinstance(value, dict) else value if isinstance(value, OF_ITEMS) else [value]
                )


def holds_more(kind: type[Part]) -> bool:
    """Tell whether a kind of part has attributes that a program has given it."""
    own = (each for each in kind.__mro__ if not each.__module__.startswith(("swaplab.", "typing", "builtins")))
    return kind.__dictoffset__ != 0 or any(vars(each).get("__slots__") for each in own)


def mutable_in(value: object) -> object:
    """Return the part of a value that can change unseen; none if nothing can.

    What is `Shared`, and a `Part`, is watched itself. Functions are as constant as what they are bound to.
    """
    if isinstance(value, CONSTANT):
        return None
    pending = [value]
    seen: set[int] = set()
    while pending:
        each = pending.pop()
        if type(each) in NEVER_CHANGES or id(each) in seen:
            continue
        seen.add(id(each))
        inside = _inside(each)
        if inside is None:
            return each
        pending += inside
    return None


def insist_constant(holder: str, value: object) -> None:
    """Insist that nothing of a value can change without being seen.

    Raises:
        Refused: something can.
    """
    found = mutable_in(value)
    if found is not None:
        raise Refused(f"{holder} holds a {type(found).__name__}, whose changes nobody would see: {instead_of(found)}")


def _inside(value: object) -> list[object] | None:
    """Return what something constant consists of; None if it is not constant."""
    if isinstance(value, CONSTANT):
        return []
    if isinstance(value, Enum):
        return [each for name, each in vars(value).items() if name != "__objclass__"]
    if _is_frozen(value):
        return [*attributes(value).values()]
    if isinstance(value, PLAIN) and hasattr(value, "__dict__"):
        return None
    return next(([*consists(value)] for kinds, consists in CONSISTS if isinstance(value, kinds)), None)


def _is_frozen(value: object) -> bool:
    if isinstance(value, msgspec.Struct):
        return bool(value.__struct_config__.frozen)
    return is_dataclass(value) and bool(type(value).__dataclass_params__.frozen)  # type: ignore[union-attr]


def attributes(value: object) -> dict[str, object]:
    """Return the attributes of an object, in its ``__dict__`` or in slots, and the arguments of an exception."""
    slots = (vars(kind).get("__slots__", ()) for kind in type(value).__mro__)
    names = [name for each in slots for name in ([each] if isinstance(each, str) else each) if name not in SPECIAL]
    names += ["args"] * isinstance(value, BaseException)
    return {name: getattr(value, name) for name in names if hasattr(value, name)} | getattr(value, "__dict__", {})


def _of_function(function: FunctionType) -> Iterator[object]:
    if function.__code__.co_filename == operation.__code__.co_filename:
        return  # an operation of a part, which holds the task that runs it
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from map(cell_contents, function.__closure__ or ())


def cell_contents(cell: CellType) -> object:
    """Return what a variable around a function holds; Ellipsis before it holds something."""
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return Ellipsis


def cells(value: object) -> list[tuple[str, CellType]]:
    """Return the variables around the functions that something constant consists of, with what texts call them."""
    found: list[tuple[str, CellType]] = []
    pending, seen = [value], {id(value)}
    while pending:
        each = pending.pop()
        if isinstance(each, FunctionType) and each.__code__.co_filename != operation.__code__.co_filename:
            around = zip(each.__code__.co_freevars, each.__closure__ or (), strict=True)
            found += [(f"{name}, a variable around {each.__qualname__}", cell) for name, cell in around]
        inside = [part for part in _inside(each) or () if id(part) not in seen]
        seen.update(map(id, inside))
        pending += inside
    return found


def _of_mapping(mapping: Mapping[object, object]) -> Iterator[object]:
    yield from mapping.keys()
    yield from mapping.values()


def _of_slice(value: slice) -> tuple[object, ...]:
    return value.start, value.stop, value.step


CONSISTS: tuple[tuple[type | tuple[type, ...], Callable[..., Iterable[object]]], ...] = (
    ((tuple, frozenset), tuple),
    (slice, _of_slice),
    (PLAIN, lambda _: ()),
    (FunctionType, _of_function),
    (MethodType, lambda method: (method.__self__, method.__func__)),
    ((BuiltinFunctionType, MethodWrapperType), lambda function: (function.__self__,)),
    (partial, lambda call: (call.func, *call.args, *call.keywords.values())),
    (MappingProxyType, _of_mapping),
    ((staticmethod, classmethod), lambda wrapped: (wrapped.__func__,)),
    (property, lambda each: (each.fget, each.fset, each.fdel)),
)
