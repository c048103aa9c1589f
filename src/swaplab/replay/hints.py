"""Hints for the compiler and the processor: which memory is needed soon, and which way a branch rarely goes."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.imputils import lower_builtin
from numba.extending import intrinsic, overload, type_callable

from swaplab.replay.reference import element

__all__ = ["prefetch", "unlikely"]

INT1, INT8_POINTER, INT32 = ir.IntType(1), ir.IntType(8).as_pointer(), ir.IntType(32)
FOR_READING, KEEP, DATA = INT32(0), INT32(3), INT32(1)


def prefetch(column: Any, index: int) -> None:
    """Hint that ``column[index]`` will be used soon; any index will do. Interpreted, it does nothing."""


@intrinsic
def prefetch_element(_typing: Any, column: Any, index: Any) -> Any:
    """Make a prefetch instruction for one element."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = element(context, builder, signature.args[0], *arguments)
        hint = ir.FunctionType(ir.VoidType(), [INT8_POINTER, INT32, INT32, INT32])
        function = builder.module.declare_intrinsic("llvm.prefetch", [INT8_POINTER], hint)
        builder.call(function, [address, FOR_READING, KEEP, DATA])
        return context.get_dummy_value()

    return types.void(column, types.int64), generate


@overload(prefetch, strict=False)
def compiled_prefetch(column: Any, index: Any) -> Any:
    """The instruction that `prefetch` compiles to."""
    return lambda column, index: prefetch_element(column, index)  # type: ignore[call-arg]  # noqa: PLW0108


def unlikely(condition: object) -> bool:
    """Whether `condition` holds, which is rare: a setting that few have, or a failure (include/linux/compiler.h)."""
    return bool(condition)


@type_callable(unlikely)
def type_unlikely(_context: Any) -> Any:
    """For any argument, the answer is a boolean."""
    return lambda condition: types.boolean


@lower_builtin(unlikely, types.Any)
def expect_false(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Say so where the condition is computed: a function that says it would lose it."""
    condition = context.is_true(builder, signature.args[0], arguments[0])
    function = builder.module.declare_intrinsic("llvm.expect", [INT1], ir.FunctionType(INT1, [INT1, INT1]))
    return builder.call(function, [condition, INT1(0)])
