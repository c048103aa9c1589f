"""One typed way to compile a function with numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

__all__ = ["compiled"]

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile on first call, keep the machine code on disk, and release the GIL while it runs.

    numba's own decorator is untyped; this one keeps the signature for type checkers.
    """
    return cast(Function, numba.njit(cache=True, nogil=True)(function))
