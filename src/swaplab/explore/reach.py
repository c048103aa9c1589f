"""What tasks can reach beside the system: globals, closures, defaults, and attributes of classes and modules.

All of that outlives an execution. What cannot change is fine, and so is what can but does not; what does is refused.
"""

from __future__ import annotations

import dis
import sys
import sysconfig
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import partial
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GenericAlias,
    MethodType,
    ModuleType,
    SimpleNamespace,
    UnionType,
)
from typing import Any

from swaplab.explore.guard import FOLDERS
from swaplab.explore.values import mutable_in
from swaplab.kernel.sync.bugs import Refused
from swaplab.kernel.sync.shared import Part, Shared

__all__ = ["Reach"]

FOREIGN = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")})
"""Where modules are that are no program's."""
UNSEEN = ("__dict__", "__setattr__", "__delattr__")
"""Attributes by which fields are reached unseen."""
FREE = ("typing", "swaplab.kernel.sync.rcu", "swaplab.kernel.sync.runtime")
"""Modules whose objects mean something, and hold nothing."""
OWN = ("fields", "defaults", "classes", "_abc_impl")
"""Of classes, what is no program's."""
CHANGES = (
    "outlives an execution, and nobody would see its changes: make it in setup, in fields and parts of Shared objects"
)


def _is_own(file: str | None) -> bool:
    """Tell whether a file is of the program or of the system, and not of Python, of a package or of the primitives."""
    return file is not None and not file.startswith((*FOREIGN, "<")) and Path(file).parent not in FOLDERS


def _is_own_class(kind: type) -> bool:
    return _is_own(getattr(sys.modules.get(kind.__module__), "__file__", None)) and hasattr(kind, "__dict__")


class Reach:
    """What is reached, and what it was when it was looked for.

    Args:
        roots: functions that tasks run, and classes of the objects that they find.

    Raises:
        Refused: a task changes what outlives an execution, or uses what changes by that.
    """

    def __init__(self, roots: list[object]) -> None:
        self._seen: set[int] = set()
        self._kept: list[object] = []
        self._found: dict[str, Callable[[], object]] = {}
        self._pending: list[tuple[str, Callable[[], object]]] = [("", partial(_itself, root)) for root in roots]
        while self._pending:
            self._visit(*self._pending.pop())
        self._before = {name: _print(get()) for name, get in self._found.items()}

    def insist_same(self) -> None:
        """Insist that nothing of it has changed.

        Raises:
            Refused: something has.
        """
        for name, get in self._found.items():
            if _print(get()) != self._before[name]:
                raise Refused(f"{name}, a {type(get()).__name__}, was changed by a task: it {CHANGES}")

    def _visit(self, name: str, get: Callable[[], object]) -> None:
        value = get()
        if id(value) in self._seen:
            return
        self._seen.add(id(value))
        self._kept.append(value)
        if isinstance(value, FunctionType):
            self._function(value)
        elif isinstance(value, MethodType):
            self._pending += [(name, partial(_itself, value.__func__)), (name, partial(_itself, value.__self__))]
        elif isinstance(value, partial):
            inside = (value.func, *value.args, *value.keywords.values())
            self._pending += [(name, partial(_itself, each)) for each in inside]
        elif isinstance(value, type):
            self._class(value)
        else:
            self._value(name, value, get)

    def _value(self, name: str, value: object, get: Callable[[], object]) -> None:
        if isinstance(value, BuiltinFunctionType) and value.__name__ == "_exit":
            raise Refused(f"{name} ends the process, with whatever is not said yet")
        if isinstance(value, Shared | Part) and name:
            raise Refused(f"{name}, a {type(value).__name__}, was made outside setup and tasks: it {CHANGES}")
        found = mutable_in(value)
        if found is None or (callable(value) and not _is_own_class(type(value))):
            return
        if isinstance(found, Iterator):
            raise Refused(f"{name}, a {type(found).__name__}, changes when it is used: it {CHANGES}")
        self._found[name] = get
        if isinstance(value, dict | list | tuple | set | frozenset):
            inside = value.values() if isinstance(value, dict) else value
            self._pending += [(f"{name}[...]", partial(_itself, each)) for each in inside if callable(each)]

    def _class(self, kind: type) -> None:
        if not _is_own_class(kind) or issubclass(kind, Enum):
            return
        for base in kind.__mro__[1:]:
            self._pending.append(("", partial(_itself, base)))
        for name, value in list(vars(kind).items()):
            inner = (
                getattr(value, "__func__", None) or getattr(value, "fget", None) or getattr(value, "__wrapped__", value)
            )
            if isinstance(inner, FunctionType):
                self._pending.append(("", partial(_itself, inner)))
            elif not name.startswith("__") and name not in (*OWN, *getattr(kind, "fields", ())):
                full = f"{kind.__qualname__}.{name}"
                self._pending.append((full, partial(_item, vars(kind), name)))
                if not hasattr(type(value), "__get__") and not issubclass(kind, Shared):
                    self._found[full] = self._pending[-1][1]

    def _function(self, function: FunctionType) -> None:
        code = function.__code__
        if not _is_own(code.co_filename):
            return
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self._pending.append((f"{name}, a variable around {code.co_name}", partial(_contents, cell)))
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._pending.append((f"a default of {code.co_name}", partial(_itself, value)))
        self._code(code, function.__globals__, frozenset(code.co_freevars))

    def _code(self, code: CodeType, names: dict[str, Any], outer: frozenset[str]) -> None:
        line = code.co_firstlineno
        module: ModuleType | None = None
        for each in dis.get_instructions(code):
            line = each.starts_line or line
            at = f"({code.co_filename}, line {line}, in {code.co_name})"
            if each.opname in ("STORE_GLOBAL", "DELETE_GLOBAL") or (
                each.opname in ("STORE_DEREF", "DELETE_DEREF") and each.argval in outer
            ):
                raise Refused(f"{each.argval} is changed by a task: it {CHANGES} {at}")
            if each.opname in ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR") and each.argval in UNSEEN:
                raise Refused(f"{each.argval} reaches fields in a way that nobody sees: use the fields {at}")
            if module is not None and each.opname == "STORE_ATTR":
                raise Refused(f"{module.__name__}.{each.argval} is changed by a task: it {CHANGES} {at}")
            if module is not None and each.opname in ("LOAD_ATTR", "LOAD_METHOD") and hasattr(module, each.argval):
                self._named(vars(module), each.argval, module.__name__)
            module = None
            if each.opname in ("LOAD_GLOBAL", "LOAD_NAME") and each.argval in names:
                value = names[each.argval]
                if isinstance(value, ModuleType):
                    module = value
                else:
                    self._named(names, each.argval, str(names.get("__name__")))
        for inner in code.co_consts:
            if isinstance(inner, CodeType):
                self._code(inner, names, outer & frozenset(inner.co_freevars))

    def _named(self, names: dict[str, Any], name: str, module: str) -> None:
        value = names.get(name)
        is_foreign = isinstance(value, GenericAlias | UnionType) or type(value).__module__ in FREE
        if not is_foreign and (_is_own(names.get("__file__")) or callable(value)):
            self._pending.append((f"{module}.{name}", partial(_item, names, name)))


def _itself(value: object) -> object:
    return value


def _item(names: Mapping[str, object], name: str) -> object:
    return names.get(name)


def _contents(cell: Any) -> object:  # noqa: ANN401
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None


def _print(value: object, seen: tuple[int, ...] = ()) -> object:
    """Return what changes when something changes, as deep as it goes."""
    if id(value) in seen or mutable_in(value) is None:
        return id(value) if isinstance(value, FunctionType | type | Shared | Part) else repr(value)
    seen = (*seen, id(value))
    if isinstance(value, dict):
        return [(_print(key, seen), _print(each, seen)) for key, each in value.items()]
    if isinstance(value, list | tuple | set | frozenset | deque | bytearray):
        return [_print(each, seen) for each in value]
    if isinstance(value, SimpleNamespace) or _is_own_class(type(value)):
        return [(name, _print(each, seen)) for name, each in getattr(value, "__dict__", {}).items()]
    return id(value)
