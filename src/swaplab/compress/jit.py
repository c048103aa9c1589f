"""Code compiled with numba and kept in the cache directory: numba's own cache trusts any file there.

numba would keep it beside the source, which need not be writable, and end with a traceback on a file that is damaged.
"""

from __future__ import annotations

import hashlib
import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import _Cache as Cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from swaplab import linux
from swaplab.cache import cache_dir, read_cached, write_cached

__all__ = ["compiled", "is_kept", "keep"]

Function = TypeVar("Function", bound=Callable[..., object])
DIRECTORY = "compiled"


def _variant(signature: Any) -> str:
    """Return the variant that the types of arguments ask for, as part of a file's name."""
    return "".join(f"{each.variant}-" for each in signature if hasattr(each, "variant"))


class Kept(Cache):
    """The compiled forms of one function, a file for each signature.

    Args:
        function: what is compiled.
        stamp: a hash of all source that goes into it.
    """

    def __init__(self, function: Callable[..., object], stamp: Callable[[], str]) -> None:
        where = hashlib.sha256(inspect.getfile(function).encode()).hexdigest()[:8]
        self._name = f"{function.__module__}.{function.__qualname__}-{where}"
        self._stamp = stamp
        self._is_enabled = True

    @property
    def cache_path(self) -> str:
        """The directory with the files."""
        return str(cache_dir() / DIRECTORY)

    def _path(self, signature: object, target: Any) -> str:
        """Name of a file in the cache: whatever changes with the source alone is not in it, so it replaces itself."""
        told = repr((numba.__version__, str(signature), target.codegen().magic_tuple()))
        return f"{DIRECTORY}/{self._name}-{_variant(signature)}{hashlib.sha256(told.encode()).hexdigest()[:8]}"

    def _read(self, name: str) -> bytes | None:
        """Machine code with what belongs to it; None if there is none of this source."""
        data = read_cached(name)
        stamp = self._stamp().encode()
        return data.removeprefix(stamp) if data is not None and data.startswith(stamp) else None

    def has_any(self, variant: str) -> bool:
        """Whether there is code of this source, and of this variant of it."""
        prefix = f"{self._name}-{variant and variant + '-'}"
        names = sorted(path.name for path in Path(self.cache_path).glob(f"{prefix}*"))
        return any(self._read(f"{DIRECTORY}/{name}") is not None for name in names)

    def load_overload(self, signature: object, target: Any) -> Any:
        """Return the compiled form for a signature, or None."""
        target.refresh()
        data = self._read(self._path(signature, target)) if self._is_enabled else None
        rebuild: Any = CompileResult._rebuild
        return None if data is None else rebuild(target, *pickle.loads(data))  # noqa: S301 - it is ours

    def save_overload(self, signature: object, result: Any) -> None:
        """Keep a compiled form."""
        if self._is_enabled and not result.library.has_dynamic_globals:
            data = cast("Callable[[object], bytes]", dumps)(result._reduce())
            write_cached(self._path(signature, result.target_context), self._stamp().encode() + data)

    def enable(self) -> None:
        """Use it."""
        self._is_enabled = True

    def disable(self) -> None:
        """Do without it."""
        self._is_enabled = False

    def flush(self) -> None:
        """Throw all forms of the function away."""
        for path in Path(self.cache_path).glob(f"{self._name}-*"):
            path.unlink()


def keep(dispatcher: Function, stamp: Callable[[], str]) -> Function:
    """Have a function that numba compiles keep its machine code; interpreted, there is none."""
    if isinstance(dispatcher, numba.core.dispatcher.Dispatcher):
        function: Any = dispatcher
        function._cache = Kept(function.py_func, stamp)
    return dispatcher


def is_kept(function: Any, variant: str = "") -> bool:
    """Whether calling such a function will load its machine code, and not compile it.

    Args:
        variant: of what it is called with, if that has several (an attribute of its type).
    """
    return not hasattr(function, "_cache") or function._cache.has_any(variant)


def compiled(function: Function) -> Function:
    """Compile on first call, keep the machine code on disk, and release the GIL while it runs.

    numba's own decorator is untyped; this one keeps the signature for type checkers.
    """

    def stamp() -> str:
        """All source of this package, of what it stands on and the function's own: one holds what it calls."""
        own, facts = Path(__file__).parent, Path(linux.__path__[0])
        files = sorted({*own.glob("*.py"), *facts.glob("*.py"), Path(inspect.getfile(function))})
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    return keep(cast("Function", numba.njit(nogil=True)(function)), stamp)
