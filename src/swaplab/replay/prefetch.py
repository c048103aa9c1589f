"""Ask for memory before it is needed: most of the time of a fault is waiting for records that are in no near cache."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

__all__ = ["prefetch"]

INT8_POINTER, INT32, INT64 = ir.IntType(8).as_pointer(), ir.IntType(32), ir.IntType(64)
FOR_WRITING, KEEP, DATA = INT32(1), INT32(3), INT32(1)


def prefetch(array: Any, index: int) -> None:
    """Hint that ``array[index]`` will be used soon; any index will do. Interpreted, it does nothing."""


@intrinsic
def prefetch_element(_typing: Any, array: Any, index: Any) -> Any:
    """Make a prefetch instruction for one element."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        data = context.make_array(kind)(context, builder, arguments[0]).data
        itemsize = INT64(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
        address = builder.add(builder.ptrtoint(data, INT64), builder.mul(arguments[1], itemsize))
        hint = ir.FunctionType(ir.VoidType(), [INT8_POINTER, INT32, INT32, INT32])
        function = builder.module.declare_intrinsic("llvm.prefetch", [INT8_POINTER], hint)
        builder.call(function, [builder.inttoptr(address, INT8_POINTER), FOR_WRITING, KEEP, DATA])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@overload(prefetch, strict=False)
def compiled_prefetch(array: Any, index: Any) -> Any:
    """What `prefetch` compiles to."""
    return lambda array, index: prefetch_element(array, index)  # type: ignore[call-arg]
