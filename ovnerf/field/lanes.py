"""Eight neighbouring floats of a table as one value, for the loops that numba compiles.

Left to itself the compiler computes one column of a grid after the other: it does not recognise
neighbouring scalar operations (that pass is switched off in numba, for faults of its own), nor
loops that read some rows and write to others. With `Lanes` a loop over the columns says what it
means, eight at a time, and the compiler uses the vector unit of any processor:

    value = factor * load(table, row, column, LANES)     # columns column..column+7
    store(other, row, column, load(other, row, column, LANES) + value)

With 1 in place of `LANES` the same lines are of one column and plain numbers: for the columns that
are left over where a row's length is no multiple of eight.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.errors import TypingError
from numba.extending import intrinsic, lower_builtin, register_model, type_callable

LANES = 8
"""Eight f32 fill one register of 256 bits (AVX); of smaller registers the compiler uses two."""
FLOAT = ir.FloatType()
VECTOR = ir.VectorType(FLOAT, LANES)
FLAGS = ("reassoc", "contract", "nsz")
"""As for `SUMS` in `compiled`: sums may be reordered, products and sums be one operation."""
FLOAT_BYTES = 4

Typing = tuple[Any, Callable[..., Any]]
"""What an intrinsic returns to numba: its signature, and the function that writes its code."""


class LanesType(types.Type):
    """The type of eight floats in compiled code."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


lanes = LanesType()


@register_model(LanesType)
class LanesModel(models.PrimitiveModel):
    """In memory and in registers `Lanes` are a vector of eight floats."""

    def __init__(self, manager: Any, lanes_type: LanesType) -> None:
        super().__init__(manager, lanes_type, VECTOR)


def type_of(count: Any) -> Any:
    """What `count` columns are: `Lanes` of eight, a plain float of one. Others do not compile."""
    kinds = {LANES: lanes, 1: types.float32}
    number = getattr(count, "literal_value", None)
    if number not in kinds:
        raise TypingError(f"columns are loaded {LANES} or 1 at a time, written as a constant")
    return kinds[number]


def check_rows(table: Any) -> None:
    """Refuse, when a loop is compiled, a table whose columns are not f32 side by side."""
    if table.layout != "C" or table.dtype != types.float32:
        raise TypingError(f"load and store are of C-contiguous f32 tables, not of {table}")


def address(context: Any, builder: Any, signature: Any, arguments: Any, model: Any) -> Any:
    """Where a value of LLVM's type `model` begins in a table, row and column.

    Rows and columns are not counted from the end where they are negative, unlike numba's own.
    """
    table = signature.args[0]
    view = context.make_array(table)(context, builder, arguments[0])
    at = [
        context.cast(builder, value, kind, types.intp)
        for value, kind in zip(arguments[1:3], signature.args[1:3], strict=True)
    ]
    shape, strides = (cgutils.unpack_tuple(builder, part, 2) for part in (view.shape, view.strides))
    place = cgutils.get_item_pointer2(
        context, builder, view.data, shape, strides, table.layout, at, wraparound=False
    )
    return builder.bitcast(place, model.as_pointer())


@intrinsic(prefer_literal=True)
def load(_: Any, table: Any, row: Any, column: Any, count: Any) -> Typing:
    """``table[row, column : column + count]`` of an f32 table; count is `LANES` or 1."""
    check_rows(table)
    kind = type_of(count)

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        model = VECTOR if kind is lanes else FLOAT
        place = address(context, builder, signature, arguments, model)
        return builder.load(place, align=FLOAT_BYTES)

    return kind(table, row, column, count), write


@intrinsic
def store(_: Any, table: Any, row: Any, column: Any, value: Any) -> Typing:
    """Write `value`, `Lanes` or a float, to a table from this row and column on."""
    check_rows(table)

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = address(context, builder, signature, arguments, arguments[3].type)
        builder.store(arguments[3], place, align=FLOAT_BYTES)
        return context.get_dummy_value()

    return types.void(table, row, column, value), write


@intrinsic(prefer_literal=True)
def zeros(_: Any, count: Any) -> Typing:
    """`count` zeros; count is `LANES` or 1."""
    kind = type_of(count)

    def write(*_: Any) -> Any:
        return ir.Constant(VECTOR, [0.0] * LANES) if kind is lanes else ir.Constant(FLOAT, 0.0)

    return kind(count), write


@intrinsic
def total(_: Any, value: Any) -> Typing:
    """The sum of `Lanes`."""

    def write(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(FLOAT, [FLOAT, VECTOR])
        name = f"llvm.vector.reduce.fadd.v{LANES}f32"
        add = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(add, [ir.Constant(FLOAT, 0.0), arguments[0]], fastmath=FLAGS)

    return types.float32(value), write


def spread(builder: Any, number: Any) -> Any:
    """A vector of eight times the same number."""
    index = ir.IntType(32)
    nothing = ir.Constant(VECTOR, ir.Undefined)
    one = builder.insert_element(nothing, number, ir.Constant(index, 0))
    first = ir.Constant(ir.VectorType(index, LANES), [0] * LANES)
    return builder.shuffle_vector(one, nothing, first)


def define(operation: Any, instruction: str) -> None:
    """Make an operator work between `Lanes`, and between `Lanes` and a float."""

    def types_of(_: Any) -> Any:
        def result(left: Any, right: Any) -> Any:
            both = {left, right}
            return lanes if lanes in both and both <= {lanes, types.float32} else None

        return result

    def write(_: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = [
            value if kind == lanes else spread(builder, value)
            for value, kind in zip(arguments, signature.args, strict=True)
        ]
        return getattr(builder, instruction)(*vectors, flags=FLAGS)

    type_callable(operation)(types_of)
    for pair in ((lanes, lanes), (lanes, types.float32), (types.float32, lanes)):
        lower_builtin(operation, *pair)(write)


define(operator.add, "fadd")
define(operator.sub, "fsub")
define(operator.mul, "fmul")
