"""A `State` as compiled code sees it: one pointer, to a table of where its arrays are.

Passing some twenty arrays by value would cost more than most of the functions that take them: so `State` is a type of
its own to the compiler, and ``m.folios`` a load from its table: a bare pointer, indexed without looking at signs or
bounds, as nothing here counts from the end. The arrays are borrowed: the caller holds the machine.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import typeof, types
from numba.core.imputils import lower_builtin, lower_getattr_generic
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_global, signature
from numba.extending import NativeValue, infer_getattr, models, register_model, typeof_impl, unbox

from swaplab.linux.release import Features
from swaplab.replay.state import Parts, State

__all__ = ["Column", "StateType", "element", "variant_of"]

INT64 = ir.IntType(64)


def variant_of(linux: Features, has: Parts) -> str:
    """Name of what is compiled for these features and parts: hexadecimal, of no letter but 0 for 6.12 without any."""
    return f"{sum(is_there << number for number, is_there in enumerate((*linux, *has))):x}"


class StateType(types.Type):
    """Type of a `State` with the given features and parts, and types of arrays in order."""

    def __init__(self, linux: Features, has: Parts, members: tuple[tuple[str, Any], ...]) -> None:
        self.linux, self.has, self.members = linux, has, dict(members)
        super().__init__(name=f"State({linux}, {has}, {', '.join(f'{name}: {kind}' for name, kind in members)})")

    @property
    def variant(self) -> str:
        """The code that is compiled for it, as part of a file's name."""
        return variant_of(self.linux, self.has)


class Column(types.Type):
    """Type of a field that is an array of `dtype`."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Column({dtype})")


register_model(StateType)(models.OpaqueModel)
register_model(Column)(models.OpaqueModel)


def member_type(value: Any) -> Any:
    """Type of one field."""
    kind = typeof(value)
    return Column(kind.dtype) if isinstance(kind, types.Array) else kind


@typeof_impl.register(State)
def type_machine(machine: State, context: Any) -> StateType:
    """Type a machine by its arrays; once, since numba asks at every call."""
    known = vars(machine)
    if "kind_of_machine" not in known:
        members = tuple((name, member_type(value)) for name, value in machine.arrays.items())
        known["kind_of_machine"] = StateType(machine.linux, machine.has, members)
    kind: StateType = known["kind_of_machine"]
    return kind


@unbox(StateType)
def unbox_machine(kind: StateType, machine: Any, c: Any) -> Any:
    """Take the address of the machine's table."""
    address = c.pyapi.object_getattr_string(machine, "address")
    pointer = c.pyapi.long_as_voidptr(address)
    c.pyapi.decref(address)
    return NativeValue(pointer)


# Fields ---------------------------------------------------------------------------------------------------------------


@infer_getattr
class MachineAttributes(AttributeTemplate):
    """``m.folios`` has the type of that field."""

    key = StateType

    def generic_resolve(self, kind: StateType, name: str) -> Any:  # type: ignore[override]
        """Return the type of a field."""
        return kind.members.get(name)


@lower_getattr_generic(StateType)
def load_field(context: Any, builder: Any, kind: StateType, machine: Any, name: str) -> Any:
    """Load the address of a field; the table never changes while compiled code runs.

    Records stand one behind the other (`swaplab.replay.state.CONTROL`): each is at a known distance from the first.
    """
    records = [each for each, kind_of_it in kind.members.items() if isinstance(kind_of_it, types.Record)]
    behind = records[: records.index(name)] if name in records else []
    table = builder.bitcast(machine, INT64.as_pointer())
    address = builder.load(builder.gep(table, [INT64(list(kind.members).index((behind or [name])[0]))]))
    address.set_metadata("invariant.load", builder.module.add_metadata([]))
    address = builder.add(address, INT64(sum(kind.members[each].size for each in behind)))
    return builder.inttoptr(address, context.get_value_type(kind.members[name]))


# Elements -------------------------------------------------------------------------------------------------------------


def element(context: Any, builder: Any, column: Column, pointer: Any, index: Any) -> Any:
    """Address of one element, as a pointer to bytes."""
    itemsize = INT64(context.get_abi_sizeof(context.get_data_type(column.dtype)))
    return builder.gep(pointer, [builder.mul(index, itemsize)])


@infer_global(operator.getitem)
class ColumnGet(AbstractTemplate):
    """``m.folios[i]`` is a record by reference, or a number."""

    def generic(self, arguments: Any, _keywords: Any) -> Any:
        """Return the signature for a column and an integer."""
        column, index = arguments
        if isinstance(column, Column) and isinstance(index, types.Integer):
            return signature(column.dtype, column, types.intp)
        return None


@infer_global(operator.setitem)
class ColumnSet(AbstractTemplate):
    """``m.pte[i] = number``."""

    def generic(self, arguments: Any, _keywords: Any) -> Any:
        """Return the signature for a column, an integer and a number."""
        column, index, value = arguments
        if isinstance(column, Column) and isinstance(index, types.Integer) and isinstance(value, types.Number):
            return signature(types.none, column, types.intp, column.dtype)
        return None


@lower_builtin(operator.getitem, Column, types.intp)
def load_element(context: Any, builder: Any, kind: Any, arguments: Any) -> Any:
    """Load a number, or take the address of a record."""
    column = kind.args[0]
    address = element(context, builder, column, *arguments)
    if isinstance(column.dtype, types.Record):
        return builder.bitcast(address, context.get_value_type(column.dtype))
    return context.unpack_value(builder, column.dtype, typed(context, builder, column, address))


@lower_builtin(operator.setitem, Column, types.intp, types.Any)
def store_element(context: Any, builder: Any, kind: Any, arguments: Any) -> Any:
    """Store a number."""
    column = kind.args[0]
    pointer, index, value = arguments
    address = typed(context, builder, column, element(context, builder, column, pointer, index))
    context.pack_value(builder, column.dtype, value, address)
    return context.get_dummy_value()


def typed(context: Any, builder: Any, column: Column, address: Any) -> Any:
    """Turn a pointer to bytes into one to an element."""
    return builder.bitcast(address, context.get_data_type(column.dtype).as_pointer())
