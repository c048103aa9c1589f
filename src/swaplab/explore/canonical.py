"""Values of different executions, in a form that is equal if no task can tell a difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from pathlib import PurePath
from types import BuiltinFunctionType, EllipsisType, FunctionType, MappingProxyType, MethodType
from typing import Any

import msgspec

from swaplab.explore.history import Variable
from swaplab.explore.learned import Contradiction
from swaplab.explore.values import cell_contents
from swaplab.kernel.sync.shared import Part, Shared

__all__ = ["canonical", "name_of"]

AS_THEY_ARE = (int, str, bytes, type(None), EllipsisType)


def canonical(value: object) -> Hashable:
    """Return what stands for a value in all executions.

    Raises:
        Contradiction: there is no such thing.
    """
    try:
        return _form(value)
    except RecursionError:
        raise Contradiction(f"{type(value).__name__}: a value that holds itself") from None


def _form(value: object) -> Hashable:
    if type(value) in AS_THEY_ARE:
        return value
    for kinds, form in FORMS:
        if isinstance(value, kinds):
            return form(value)
    if is_dataclass(value) and value.__dataclass_params__.frozen:  # type: ignore[union-attr]
        return (type(value), *(_form(getattr(value, each.name)) for each in fields(value)))
    raise Contradiction(f"{type(value).__name__}: no way is known to compare such values of different executions")


def name_of(part: Part) -> Variable:
    """Return the variable that a part is."""
    return (part.owner.__dict__["_number"] if part.owner is not None else 0, part.name)


def _of_function(function: FunctionType) -> Hashable:
    bound = [function.__defaults__, function.__kwdefaults__, *map(cell_contents, function.__closure__ or ())]
    return ("function", function.__module__, function.__code__, *map(_form, bound))


def _of_items(items: Mapping[object, object]) -> Hashable:
    return (type(items), *((_form(key), _form(each)) for key, each in items.items()))


FORMS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Hashable]], ...] = (
    (Shared, lambda thing: ("object", thing.__dict__["_number"])),
    (Part, lambda part: ("part", name_of(part))),
    (Enum, lambda member: (type(member), member.name)),
    ((bool, int, str, bytes, float, PurePath), lambda value: (type(value), value)),
    ((tuple, list), lambda values: (type(values), *map(_form, values))),
    ((set, frozenset), lambda values: (type(values), frozenset(map(_form, values)))),
    (bytearray, lambda data: (bytearray, bytes(data))),
    (Counter, lambda counts: (Counter, frozenset((_form(key), n) for key, n in counts.items() if n))),
    ((dict, MappingProxyType), _of_items),
    (MethodType, lambda method: ("method", _form(method.__self__), _form(method.__func__))),
    (FunctionType, _of_function),
    (partial, lambda call: ("partial", _form(call.func), _form(call.args), _form(call.keywords))),
    ((BuiltinFunctionType, type), lambda value: value),
    (
        msgspec.Struct,
        lambda value: (type(value), *(_form(getattr(value, each)) for each in value.__struct_fields__)),
    ),
)
