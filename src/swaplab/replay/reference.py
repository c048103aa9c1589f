"""A `Machine` as compiled code sees it: one pointer, to a table of where its arrays are.

Passing some twenty arrays by value would cost more than most of the functions that take them; so `Machine` is a type of
its own to the compiler, and ``m.pages`` a load from its table. The arrays are borrowed: the caller holds the machine.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from llvmlite import ir
from numba import typeof, types
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate
from numba.extending import NativeValue, infer_getattr, models, register_model, typeof_impl, unbox
from numba.np.arrayobj import populate_array

from swaplab.replay.state import Machine

__all__ = ["MachineType"]

INT64 = ir.IntType(64)


class MachineType(types.Type):
    """Type of a `Machine` with the given types of fields, in order."""

    def __init__(self, members: tuple[tuple[str, Any], ...]) -> None:
        self.members = dict(members)
        super().__init__(name=f"Machine({', '.join(f'{name}: {kind}' for name, kind in members)})")


register_model(MachineType)(models.OpaqueModel)


@typeof_impl.register(Machine)
def type_machine(machine: Machine, context: Any) -> MachineType:
    """Type a machine by its arrays."""
    return MachineType(tuple((each.name, typeof(getattr(machine, each.name))) for each in fields(machine)))


@unbox(MachineType)
def unbox_machine(kind: MachineType, machine: Any, c: Any) -> Any:
    """Take the address of the machine's table."""
    address = c.pyapi.object_getattr_string(machine, "address")
    pointer = c.pyapi.long_as_voidptr(address)
    c.pyapi.decref(address)
    return NativeValue(pointer)


@infer_getattr
class MachineAttributes(AttributeTemplate):
    """``m.pages`` has the type of that field."""

    key = MachineType

    def generic_resolve(self, kind: MachineType, name: str) -> Any:  # type: ignore[override]
        """Return the type of a field."""
        return kind.members.get(name)


def load_word(builder: Any, table: Any, index: int) -> Any:
    """Load a word of the table, which never changes while compiled code runs."""
    word = builder.load(builder.gep(table, [INT64(index)]))
    word.set_metadata("invariant.load", builder.module.add_metadata([]))
    return word


@lower_getattr_generic(MachineType)
def load_field(context: Any, builder: Any, kind: MachineType, machine: Any, name: str) -> Any:
    """Load a field: a record is its address, an array is put together around it."""
    index = 2 * list(kind.members).index(name)
    field = kind.members[name]
    table = builder.bitcast(machine, INT64.as_pointer())
    address = load_word(builder, table, index)
    if isinstance(field, types.Record):
        return builder.inttoptr(address, context.get_value_type(field))
    array = context.make_array(field)(context, builder)
    itemsize = INT64(context.get_abi_sizeof(context.get_data_type(field.dtype)))
    populate_array(
        array,
        data=builder.inttoptr(address, array.data.type),
        shape=[load_word(builder, table, index + 1)],
        strides=[itemsize],
        itemsize=itemsize,
        meminfo=None,
        parent=None,
    )
    return array._getvalue()
