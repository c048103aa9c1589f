"""A policy of one's own: a Python file, read, compiled and put into a machine in the place of what Linux does.

It is run, so only a file that was named by who runs it is read here.
"""

from __future__ import annotations

import hashlib
import inspect
import traceback
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final

import numba
import numpy as np
from numba import typeof, types
from numba.core import config
from numba.core.errors import NumbaError
from numba.np.numpy_support import carray, from_dtype

from swaplab.errors import InputError, UnsupportedError
from swaplab.policy.told import FUNCTIONS, POLICY, TOLD, Cgroup, Entry, Function, Pool
from swaplab.result.run import PolicyName

__all__ = ["Policy", "read_policy"]

TAGS: Final = "TAGS"
CALLED: Final = types.int64(types.CPointer(from_dtype(POLICY)))
NAMES: Final = [each.name for each in FUNCTIONS]
POLICY_BYTES_MAX: Final = 1 << 20


class Policy:
    """What a policy's file has.

    Args:
        path: the file, for errors.
        source: what it holds.

    Attributes:
        name: what results call it.
        tags: numbers of cgroups, by path.

    Raises:
        InputError: it is no Python, it fails, or it has not the functions that a policy has.
    """

    def __init__(self, path: str, source: bytes) -> None:
        self._path, self._source = path, source
        self.name = PolicyName(Path(path).name, hashlib.sha256(source).hexdigest())
        self._plain = self._run()
        self.tags = self._tags()
        self._functions = self._found()

    def __reduce__(self) -> tuple[type[Policy], tuple[str, bytes]]:
        """Say how it is made again in another process."""
        return type(self), (self._path, self._source)

    def put_into(self, machine: Any, numbers: Mapping[str, int]) -> None:
        """Have a machine ask it.

        Args:
            numbers: of cgroups, by path.

        Raises:
            InputError: a function does not compile or says something else than it has to; or there is no such cgroup.
        """
        machine.policy.is_there = 1
        for path, tag in self.tags.items():
            if path not in numbers:
                raise InputError(f"{self._path}: {TAGS}", "paths of the scenario's cgroups", repr(path))
            machine.rules["tag"][numbers[path]] = tag
        for name, function in self._compiled.items():
            machine.policy[name] = function.address

    def check(self, machine: Any) -> None:
        """Say what has gone wrong in one of its functions, if anything has.

        Raises:
            InputError: it has raised, or said what it may not.
        """
        if machine.policy.failed:
            raise self._failure(machine.policy)

    # The file ---------------------------------------------------------------------------------------------------------

    def _run(self) -> dict[str, Any]:
        """Run the file; what it has, by name."""
        names: dict[str, Any] = {"__name__": "policy", "__file__": self._path}
        try:
            code: CodeType = compile(self._source, self._path, "exec")
            exec(code, names)  # noqa: S102 - what it is for
        except SyntaxError as error:
            raise InputError(f"{self._path}:{error.lineno or 1}", "Python", error.msg) from None
        except (Exception, SystemExit) as error:  # whatever the file may raise
            raise self._raised(error, 1, "the file") from None
        return names

    def _is_own(self, value: object) -> bool:
        return isinstance(value, FunctionType) and value.__code__.co_filename == self._path

    def _found(self) -> dict[str, Function]:
        """Its functions, checked; those whose names begin with an underscore are for them to call."""
        own = {name: each for name, each in self._plain.items() if self._is_own(each) and not name.startswith("_")}
        for name, function in own.items():
            if name not in NAMES:
                expected = f"a function of a policy ({', '.join(NAMES)}), or a name that begins with _ for others"
                raise InputError(self._place(function), expected, name)
            expected_parameters = [*FUNCTIONS[NAMES.index(name)].parameters]
            if [*inspect.signature(function).parameters] != expected_parameters:
                found = f"{name}{inspect.signature(function)}"
                raise InputError(self._place(function), f"{name}({', '.join(expected_parameters)})", found)
        if not own:
            raise InputError(self._path, f"one of the functions {', '.join(NAMES)}", "none")
        return {each.name: each for each in FUNCTIONS if each.name in own}

    def _tags(self) -> dict[str, int]:
        tags = self._plain.get(TAGS, {})
        if not isinstance(tags, dict) or not all(
            isinstance(path, str) and isinstance(tag, int) and abs(tag) < 1 << 63 for path, tag in tags.items()
        ):
            raise InputError(f"{self._path}: {TAGS}", "whole numbers by cgroups' paths", repr(tags))
        return tags

    def _place(self, function: Any) -> str:
        return f"{self._path}:{function.__code__.co_firstlineno}"

    # Compiled ---------------------------------------------------------------------------------------------------------

    @cached_property
    def _compiled(self) -> dict[str, Any]:
        """Its functions as machine code that is called by address, by name."""
        if config.DISABLE_JIT:  # type: ignore[attr-defined]
            raise UnsupportedError(f"{self._path}: a policy is compiled, so there is none with NUMBA_DISABLE_JIT")
        names = self._run()
        for name, value in names.items():
            if self._is_own(value):
                names[name] = numba.njit(value)
        return {name: self._compile(names[name], each) for name, each in self._functions.items()}

    def _compile(self, function: Any, what: Function) -> Any:
        where = self._place(function.py_func)
        try:
            function.compile(tuple(typeof(value) for value in _examples(what)))
        except NumbaError as raised:
            error: Any = raised
            line = (
                error.loc.line
                if error.loc and error.loc.filename == self._path
                else function.py_func.__code__.co_firstlineno
            )
            found = " ".join(_reason(str(error)).split())
            raise InputError(f"{self._path}:{line}", f"what numba compiles, in {what.name}", found) from None
        (overload,) = function.overloads.values()
        says = overload.signature.return_type
        kind = types.Boolean if what.says is bool else types.Integer
        if not isinstance(says, kind):
            expected = "True or False" if what.says is bool else "a whole number"
            raise InputError(where, f"{expected} from {what.name}", says)
        return numba.cfunc(CALLED)(_asked(function, what))

    # Failures ---------------------------------------------------------------------------------------------------------

    def _failure(self, told: Any) -> InputError:
        """Call the function once more, not compiled, as it was told; what it raises."""
        what = FUNCTIONS[int(told.failed) - 1]
        function: FunctionType = self._plain[what.name]
        try:
            function(*_told(told, what))
        except Exception as error:  # whatever it may raise
            return self._raised(error, function.__code__.co_firstlineno, what.name)
        most = f"a number from 0 to {what.most}" if what.most else "a number from 0"
        return InputError(self._place(function), f"{most} from {what.name}", int(told.answer))

    def _raised(self, error: BaseException, line: int, who: str) -> InputError:
        lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == self._path]
        place = f"{self._path}:{lines[-1] if lines else line}"
        return InputError(place, f"nothing raised in {who}", f"{type(error).__name__}: {error}")


def read_policy(path: Path) -> Policy:
    """Read and run a policy's file.

    Raises:
        InputError: see `Policy`; or it is larger than 1 MiB.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        source = file.read(POLICY_BYTES_MAX + 1)
    if len(source) > POLICY_BYTES_MAX:
        raise InputError(path, f"at most {POLICY_BYTES_MAX:,} bytes", "more")
    return Policy(str(path), source)


def _examples(what: Function) -> list[Any]:
    """Arguments of the right types."""
    return _told(np.zeros(1, POLICY).view(np.recarray)[0], what)


def _told(told: Any, what: Function) -> list[Any]:
    """Arguments of a function, from the record of what it is told."""
    views: dict[str, Any] = {
        name: kind(*(int(told[f"{name}_{field}"]) for field in kind._fields)) for name, kind in TOLD.items()
    }
    views["entry"] = views["entry"]._replace(referenced=bool(views["entry"].referenced))
    return [views.get(name, int(told.linux)) for name in what.parameters]


def _reason(message: str) -> str:
    """The line of numba's that says what is wrong."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("Failed in")), "nothing that it says")


# What is called by address: numba compiles these, which name every field ----------------------------------------------


@numba.njit
def _entry(told: Any) -> Entry:
    return Entry(told.entry_length, told.entry_age_ns, told.entry_referenced != 0)


@numba.njit
def _cgroup(told: Any) -> Cgroup:
    return Cgroup(
        told.cgroup_tag,
        told.cgroup_entries,
        told.cgroup_compressed_bytes,
        told.cgroup_usage,
        told.cgroup_memory_max,
        told.cgroup_zswpin,
        told.cgroup_pswpin,
        told.cgroup_zswpwb,
        told.cgroup_since_writeback_ns,
    )


@numba.njit
def _pool(told: Any) -> Pool:
    return Pool(
        told.pool_entries,
        told.pool_size,
        told.pool_max_size,
        told.pool_accept_size,
        told.pool_free,
        told.pool_clock_ns,
    )


def _asked(function: Any, what: Function) -> Callable[[Any], int]:
    """What asks a function, and notes that it has raised or said what it may not."""
    failed, is_limited = NAMES.index(what.name) + 1, bool(what.most)
    ask = _asks(function, what)

    def asked(pointer: Any) -> int:
        told = carray(pointer, 1)[0]
        try:
            answer = np.int64(ask(told))
        except Exception:
            told.failed = failed
            return 0
        if answer < 0 or (is_limited and answer > told.cgroup_entries):
            told.failed, told.answer = failed, answer
            return 0
        return int(answer)

    return asked


def _asks(function: Any, what: Function) -> Any:
    """What calls a function with what it is told."""
    if "entry" in what.parameters:
        return numba.njit(lambda told: function(_entry(told), _cgroup(told), _pool(told)))
    if "linux" in what.parameters:
        return numba.njit(lambda told: function(_cgroup(told), _pool(told), told.linux))
    return numba.njit(lambda told: function(_cgroup(told), _pool(told)))
