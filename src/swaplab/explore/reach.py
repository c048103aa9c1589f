"""What tasks can reach beside the system: globals, closures, defaults, and attributes of classes and modules.

All of that outlives an execution. What cannot change is fine, and so is what can but does not; what does is refused.
"""

from __future__ import annotations

import dis
import gc
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from enum import Enum
from functools import lru_cache, partial, partialmethod
from operator import is_
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CodeType,
    DynamicClassAttribute,
    FunctionType,
    GenericAlias,
    MappingProxyType,
    MethodType,
    ModuleType,
    SimpleNamespace,
    UnionType,
)
from typing import Any
from weakref import ref

import numpy as np

from swaplab.explore.guard import FOLDERS, FOREIGN, OURS, insist_seen
from swaplab.explore.values import NEVER_CHANGES, attributes, cell_contents, mutable_in
from swaplab.kernel.sync.bugs import Refused
from swaplab.kernel.sync.shared import Part, Shared

__all__ = ["Reach"]

NO_STATE = (*FOLDERS, Path(__file__).parents[1] / "compress")
"""Of the primitives, and of functions of bytes, which keep what they compress with."""
UNSEEN = (
    *("vars", "__dict__", "__setattr__", "__delattr__", "__set__", "__delete__"),
    *("__code__", "__defaults__", "__globals__", "cell_contents"),
    *("globals", "exec", "eval", "_getframe", "currentframe", "get_objects", "get_referents", "get_referrers"),
)
"""Names by which state is reached unseen; the system's own checks only look at ``vars``."""
PAST_WATCHING = "reaches fields, or what outlives an execution, in a way that nobody sees"
WITHIN_PARTS = "is where parts keep what they hold: use their operations, or another name"
CACHE = type(lru_cache(len))
LINK = "_lru_list_elem"
GLOBAL_CHANGES, OUTER_CHANGES = ("STORE_GLOBAL", "DELETE_GLOBAL"), ("STORE_DEREF", "DELETE_DEREF")
GLOBALS, ATTRIBUTES = ("LOAD_GLOBAL", "LOAD_NAME"), ("LOAD_ATTR", "LOAD_METHOD")
COMPARED = (list, tuple, dict, set, frozenset, deque, bytearray, np.ndarray)
"""What can be compared with what it was, apart from what has attributes."""
WEAK = ("weakref", "_weakref", "_weakrefset")
"""Modules of what does not keep alive what it refers to."""
FREE = ("typing", "swaplab.kernel.sync.rcu", "swaplab.kernel.sync.runtime")
"""Modules whose objects mean something, and hold nothing."""
OWN = ("fields", "defaults", "classes", "_abc_impl")
"""Of classes, what is no program's."""
CHANGES = (
    "outlives an execution, and nobody would see its changes: make it in setup, in fields and parts of Shared objects"
)


@lru_cache(maxsize=1000)
def _is_own(file: str | None) -> bool:
    """Tell whether a file is of the program or of the system, and not of Python, of a package or of the primitives."""
    return file is not None and not file.startswith((*FOREIGN, "<")) and Path(file).parent not in NO_STATE


def _is_own_class(kind: type) -> bool:
    """Tell the same of a class: a program that is run has a module that is nowhere to be found."""
    module = sys.modules.get(kind.__module__)
    return module is None or _is_own(getattr(module, "__file__", None))


class Reach:
    """What is reached, and what it was when it was looked for.

    Args:
        roots: what tasks run, and classes of what they find, by what texts call it.
        made: what setup has made, which is not looked at here.

    Raises:
        Refused: a task changes what outlives an execution, or uses what changes by that.
    """

    def __init__(self, roots: Iterable[tuple[str, object]], made: Iterable[object]) -> None:
        self._seen = {id(each) for each in made}
        self._kept: list[object] = []
        self._found: dict[str, Callable[[], object]] = {}
        self._bare: list[FunctionType] = []
        self._globals: dict[int, tuple[dict[str, Any], list[object], dict[str, Any]]] = {}
        self._pending: list[tuple[str, Callable[[], object]]] = [(name, partial(_itself, root)) for name, root in roots]
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
        for names, values, before in self._globals.values():
            if len(names) == len(values) and all(map(is_, names.values(), values)):
                continue
            now = _variables(names)
            for name in now.keys() | before.keys():
                if now.get(name, now) is not before.get(name, before):
                    raise Refused(f"{name}, a global of {names['__name__']}, was changed by a task: it {CHANGES}")
        for function in self._bare:
            if function.__dict__:
                raise Refused(f"{function.__qualname__} is given attributes by a task: they are what {CHANGES}")

    def _visit(self, name: str, get: Callable[[], object]) -> None:
        value = get()
        if id(value) in self._seen:
            return
        self._seen.add(id(value))
        self._kept.append(value)
        if _is_standard(value) and hasattr(value, "__dict__"):
            self._found[f"what {name} has for attributes"] = partial(vars, value)
        if isinstance(value, FunctionType):
            insist_seen(name, value)
            self._function(value)
        elif isinstance(value, MethodType | BuiltinFunctionType):
            self._bound(name, value)
        elif isinstance(value, partial):
            inside = (value.func, *value.args, *value.keywords.values())
            self._pending += [(name, partial(_itself, each)) for each in inside]
        elif isinstance(value, CACHE):
            self._pending.append((name, partial(_itself, value.__wrapped__)))
            if not _is_system(value.__wrapped__):  # the system's caches keep numbers, thousands of them
                self._found[f"what {name} keeps"] = partial(_kept, value)
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, ModuleType):
            self._watch(vars(value))
        else:
            self._value(name, value, get)

    def _bound(self, name: str, method: MethodType | BuiltinFunctionType) -> None:
        if isinstance(method, BuiltinFunctionType):
            insist_seen(name, method)
        else:
            self._pending.append((name, partial(_itself, method.__func__)))
        if not isinstance(method.__self__, ModuleType | type | None):
            self._pending.append((f"{name}.__self__", partial(_itself, method.__self__)))

    def _value(self, name: str, value: object, get: Callable[[], object]) -> None:
        if isinstance(value, Shared | Part) and name:
            raise Refused(f"{name}, a {type(value).__name__}, was made outside setup and tasks: it {CHANGES}")
        is_own = _is_own_class(type(value))
        if is_own:
            self._pending.append(("", partial(_itself, type(value))))
        found = mutable_in(value)
        if isinstance(value, ref):
            self._pending.append((f"what {name} refers to", value))
            return
        if found is None or _is_standard(value) or (callable(value) and not is_own):
            return
        if isinstance(found, Iterator):
            raise Refused(f"{name}, a {type(found).__name__}, changes when it is used: it {CHANGES}")
        if not is_own and not isinstance(value, (*COMPARED, SimpleNamespace, MappingProxyType)):
            raise Refused(f"{name}, a {type(value).__name__}, may change when it is used: it {CHANGES}")
        self._found[name] = get
        inside: list[object] = [*attributes(value).values()]
        if isinstance(value, dict | MappingProxyType):
            # Among modules there may be what only stands for one, until it is used.
            inside += [each for each in value.values() if value is not sys.modules or isinstance(each, ModuleType)]
        elif isinstance(value, list | tuple | set | frozenset | deque):
            inside += value
        self._pending += [(f"{name}[...]", partial(_itself, each)) for each in inside if _holds(each)]

    def _class(self, kind: type) -> None:
        if kind.__module__ in WEAK:
            raise Refused(
                f"{kind.__name__} asks whether something is still alive, and all is until an execution ends: have tasks"
                " free objects by kfree()"
            )
        if not _is_own_class(kind):
            return
        for base in (type(kind), *kind.__mro__[1:]):
            self._pending.append(("", partial(_itself, base)))
        hidden = "_" if issubclass(kind, Enum) else "__"
        for name, value in list(vars(kind).items()):
            inner = (
                getattr(value, "__func__", None) or getattr(value, "fget", None) or getattr(value, "__wrapped__", value)
            )
            if name == "__del__" and not kind.__module__.startswith("swaplab."):
                raise Refused(f"{kind.__qualname__}.__del__ is run when nobody has scheduled it: have a task call it")
            if isinstance(inner, FunctionType):
                self._pending.append(("", partial(_itself, inner)))
            elif _keeps(value):
                what = f"{kind.__qualname__}.{name}, a {type(value).__name__}"
                raise Refused(f"{what}, keeps what nobody watches: let it be a method, or a property")
            elif not (name.startswith(hidden) or _is_access(value) or name in (*OWN, *getattr(kind, "fields", ()))):
                full = f"{kind.__qualname__}.{name}"
                self._pending.append((full, partial(_item, vars(kind), name)))
                if not issubclass(kind, Shared | Enum):
                    self._found[full] = self._pending[-1][1]

    def _function(self, function: FunctionType) -> None:
        code = function.__code__
        if not _is_own(code.co_filename):
            return
        if vars(function):
            self._found[f"what {code.co_name} has for attributes"] = partial(vars, function)
        else:
            self._bare.append(function)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self._pending.append((f"{name}, a variable around {code.co_name}", partial(cell_contents, cell)))
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._pending.append((f"a default of {code.co_name}", partial(_itself, value)))
        names = function.__globals__
        if not code.co_filename.startswith(OURS):
            self._watch(names)
        self._code(code, names, frozenset(code.co_freevars))

    def _watch(self, names: dict[str, Any]) -> None:
        """Note the globals of a module, by which object each name stands for."""
        if id(names) not in self._globals:
            self._globals[id(names)] = (names, [*names.values()], _variables(names))

    def _code(self, code: CodeType, names: dict[str, Any], outer: frozenset[str]) -> None:
        unseen = _unseen(str(names.get("__name__")).startswith("swaplab."))
        module: ModuleType | None = None
        imports: ModuleType | None = None
        imported: dict[str, ModuleType] = {}
        for opname, name, line in _names_in(code):
            at = f"({code.co_filename}, line {line}, in {code.co_name})"
            if opname in GLOBAL_CHANGES or (opname in OUTER_CHANGES and name in outer):
                raise Refused(f"{name} is changed by a task: it {CHANGES} {at}")
            if name in unseen and opname != "LOAD_FAST":
                raise Refused(f"{name} {unseen[name]} {at}")
            if name == "id" and opname in GLOBALS and name not in names:
                raise Refused(f"id() is another in every execution: give objects numbers in setup {at}")
            if module is not None:
                self._use(module, opname, name, at)
            if imports is not None and opname == "STORE_FAST":
                imported[name] = imports
            imports = sys.modules.get(name, ModuleType(name)) if opname == "IMPORT_NAME" else None
            module = imported.get(name) if opname == "LOAD_FAST" else None
            if opname in GLOBALS and name in names:
                value = names[name]
                if isinstance(value, ModuleType):
                    module = value
                else:
                    self._named(names, name, str(names.get("__name__")))
        for inner in code.co_consts:
            if isinstance(inner, CodeType):
                self._code(inner, names, outer & frozenset(inner.co_freevars))

    def _use(self, module: ModuleType, opname: str, name: str, at: str) -> None:
        """See what a function does with a module."""
        if opname == "STORE_ATTR":
            raise Refused(f"{module.__name__}.{name} is changed by a task: it {CHANGES} {at}")
        if opname not in ATTRIBUTES:
            self._pending.append((module.__name__, partial(_itself, module)))
        elif hasattr(module, name):
            self._named(vars(module), name, module.__name__)

    def _named(self, names: dict[str, Any], name: str, module: str) -> None:
        value = names.get(name)
        if isinstance(value, ContextVar) and module.startswith("swaplab."):
            return  # each task has a context of its own, and the system takes back what it puts there
        if not isinstance(value, GenericAlias | UnionType | ModuleType) and type(value).__module__ not in FREE:
            self._pending.append((f"{module}.{name}", partial(_item, names, name)))


@lru_cache(maxsize=2)
def _unseen(is_ours: bool) -> dict[str, str]:
    """Return names that a function may not use, of the system or of a program, and why."""
    if is_ours:
        return dict.fromkeys(UNSEEN[1:], PAST_WATCHING)
    slots = (name for kind in _below(Part) for name in vars(kind).get("__slots__", ()) if name.startswith("_"))
    return dict.fromkeys(UNSEEN, PAST_WATCHING) | dict.fromkeys(slots, WITHIN_PARTS)


def _below(kind: type) -> Iterator[type]:
    yield kind
    subclasses: list[type] = kind.__subclasses__()
    for each in subclasses:
        yield from _below(each)


@lru_cache(maxsize=10_000)
def _names_in(code: CodeType) -> tuple[tuple[str, str, int], ...]:
    """Return what a function does to names, in turn: operation, name and line; an empty name stands for all else."""
    found: list[tuple[str, str, int]] = []
    line = code.co_firstlineno
    for each in dis.get_instructions(code):
        line = each.positions.lineno or line if each.positions else line  # starts_line is a bool from Python 3.13 on
        if isinstance(each.argval, str):
            found.append((each.opname, each.argval, line))
        elif found and found[-1][1]:
            found.append(("", "", line))
    return tuple(found)


def _itself(value: object) -> object:
    return value


def _item(names: Mapping[str, object], name: str) -> object:
    return names.get(name)


def _is_access(value: object) -> bool:
    """Tell whether an attribute of a class is only how to get at one of its objects."""
    return hasattr(type(value), "__get__") and not _is_own_class(type(value))


def _keeps(value: object) -> bool:
    """Tell whether an attribute of a class is of a package's, and keeps something itself, as cached_property does."""
    get = getattr(type(value), "__get__", None)
    is_fine = isinstance(value, FunctionType | DynamicClassAttribute | partialmethod)
    is_ours = type(value).__module__.startswith("swaplab.") or _is_own_class(type(value))
    return isinstance(get, FunctionType) and not (is_fine or is_ours)


def _is_standard(value: object) -> bool:
    """Tell whether something is a stream that a program may print on: no task reads it."""
    return any(value is each for each in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__))


def _variables(names: dict[str, Any]) -> dict[str, Any]:
    """Return the globals that a program has given names; modules come when they are imported."""
    return {name: value for name, value in names.items() if name[:2] != "__" and not isinstance(value, ModuleType)}


def _is_system(function: object) -> bool:
    """Tell whether a function is of swaplab itself."""
    return isinstance(function, FunctionType) and function.__code__.co_filename.startswith(OURS)


def _holds(value: object) -> bool:
    """Tell whether what is inside of something may lead further, so that to compare it all is not enough."""
    return callable(value) or mutable_in(value) is not None


def _kept(cache: Any) -> list[object]:  # noqa: ANN401
    """Return what a function with a cache keeps that may change."""
    kept = [each for each in gc.get_referents(cache) if each is not vars(cache)]
    results = [each for held in kept if type(held) is dict for each in held.values()]
    # One of limited size keeps a key and its result in a link of a list.
    inside = [each for link in results if type(link).__name__ == LINK for each in gc.get_referents(link)]
    found = [each for each in (*kept, *results, *inside) if type(each) is not dict and type(each).__name__ != LINK]
    return [each for each in found if mutable_in(each) is not None]


def _print(value: object, seen: tuple[int, ...] = ()) -> object:
    """Return what changes when something changes, as deep as it goes."""
    if type(value) in NEVER_CHANGES:
        return repr(value)
    if id(value) in seen or mutable_in(value) is None:
        return id(value) if isinstance(value, FunctionType | type | Shared | Part) else repr(value)
    seen = (*seen, id(value))
    if isinstance(value, np.ndarray):
        return (value.shape, str(value.dtype), value.tobytes())
    inside: list[object] = [(name, _print(each, seen)) for name, each in attributes(value).items()]
    if isinstance(value, dict | MappingProxyType):
        inside += [(_print(key, seen), _print(each, seen)) for key, each in value.items()]
    elif isinstance(value, list | tuple | set | frozenset | deque | bytearray):
        inside += [_print(each, seen) for each in value]
    return inside if inside or type(value) in COMPARED else id(value)
