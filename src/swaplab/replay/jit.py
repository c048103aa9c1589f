"""The one door to the compiler.

The same source runs compiled (the default) and interpreted (``NUMBA_DISABLE_JIT=1``): for debugging, for coverage and
to test that both give the same bytes. Integers are read out of records with `wide`: compiled, every function then has
one signature; interpreted, arithmetic does not wrap at the width of a field.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np

from swaplab.scenario import content

__all__ = ["entry", "is_cached", "jit", "wide"]

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

wide = cast("Callable[[Any], int]", np.int64)
"""An integer of any width as an int64."""


INTERNAL = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}
ENTRY = {"error_model": "numpy", "no_cfunc_wrapper": True, "nogil": True}


@cache
def fingerprint() -> str:
    """Hash of all source that is compiled: a cached function holds its callees, which may be in other files."""
    files = [*Path(__file__).parent.glob("*.py"), Path(str(content.__file__))]
    return sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()


def compiled(function: Any, options: dict[str, Any]) -> Any:
    """A dispatcher whose cache on disk is valid for this `fingerprint`; numba looks at the function's own file only."""
    dispatcher: Any = numba.njit(cache=True, **options)(function)
    if hasattr(dispatcher, "_cache"):
        dispatcher._cache._cache_file._source_stamp = fingerprint()
    return dispatcher


def is_cached(function: Any) -> bool:
    """Whether calling an `entry` will load it, and not compile it."""
    return not hasattr(function, "_cache") or bool(function._cache._cache_file._load_index())


def jit(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Compile `function`, in nopython mode, into whatever compiled function calls it. Python cannot call it."""
    return cast("Callable[Parameters, Returned]", compiled(function, INTERNAL))


def inline(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """`jit` a function that runs on every fault right into its callers: numba's calls cost as much as what it does."""
    return cast("Callable[Parameters, Returned]", compiled(function, INTERNAL | {"forceinline": True}))


def entry(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Compile `function` for Python to call; the first call compiles, and all later processes load the result."""
    return cast("Callable[Parameters, Returned]", compiled(function, ENTRY))
