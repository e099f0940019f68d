"""SIMD steps of the compiled kernels: compare many codes at once on any processor.

Numba does not reliably vectorise loops over codes of several words, so these few steps are written
as 512-bit LLVM vectors, which LLVM splits for processors with narrower registers.

With weights, the steps sum 2^j times the differing bits of a mask, for a few masks j: never more
than the cost, in units of `weighing.Weighing.shift`. So they drop most codes; the rest are weighed.
"""

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = [
    "GROUP",
    "SPAN",
    "any_near",
    "code_of",
    "cost_of",
    "in_range",
    "lowest_bit",
    "near",
    "number_at",
    "popcount",
]

SPAN = 512  # rows that `any_near` compares; divides a block
GROUP = 64  # rows that `near` compares; one bit each
VECTOR_BITS = 512
MOST_WORDS = 8  # words per code; longer codes are compared in a plain loop

Build = Callable[[Any, Any, Any, Any], ir.Value]


@intrinsic  # type: ignore[untyped-decorator]
def popcount(typing_context: Any, value: Any) -> tuple[Any, Build]:
    """Count the bits of an unsigned integer."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> ir.Value:
        return builder.ctpop(args[0])

    return value(value), build


@intrinsic  # type: ignore[untyped-decorator]
def lowest_bit(typing_context: Any, value: Any) -> tuple[Any, Build]:
    """Return the position of the lowest set bit of a non-zero integer."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> ir.Value:
        place = builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))
        return builder.zext(place, ir.IntType(64)) if place.type.width < 64 else place

    return types.int64(value), build


@intrinsic  # type: ignore[untyped-decorator]
def code_of(typing_context: Any, codes: Any, number: Any, shape: Any) -> tuple[Any, Build]:
    """Return one of many codes as a tuple of the same length as `shape`."""
    words = types.Tuple([codes.dtype] * shape.count)
    signature = words(codes, types.intp, shape)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> ir.Value:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        count = signature.return_type.count
        first = builder.mul(args[1], ir.Constant(args[1].type, count))
        words = [
            builder.load(builder.gep(array.data, [builder.add(first, ir.Constant(first.type, j))]))
            for j in range(count)
        ]
        return context.make_tuple(builder, signature.return_type, words)

    return signature, build


@intrinsic  # type: ignore[untyped-decorator]
def any_near(
    typing_context: Any, words: Any, row: Any, code: Any, masks: Any, bound: Any
) -> tuple[Any, Build]:
    """Return whether any of SPAN codes, starting at a row, may be nearer than the bound."""
    signature = types.boolean(words, types.intp, code, masks, types.int64)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> ir.Value:
        if signature.args[2].count > MOST_WORDS:
            return ir.Constant(ir.IntType(1), 1)
        count, smallest = signature.args[2].count, None
        for first in range(0, SPAN, _lanes(signature)):
            bits = _differing(context, builder, signature, args, first)
            distances = _summed(builder, bits, count)
            if smallest is not None:
                distances = _call(builder, "umin", smallest, distances)
            smallest = distances
        found = _below(builder, smallest, args[4])
        return builder.icmp_unsigned("!=", found, ir.Constant(found.type, 0))

    return signature, build


@intrinsic  # type: ignore[untyped-decorator]
def near(
    typing_context: Any, words: Any, row: Any, code: Any, masks: Any, bound: Any
) -> tuple[Any, Build]:
    """Return a mask of which of 64 codes, starting at `row`, may be nearer than the bound.

    Without masks, exactly those that are. With masks, some others too.
    """
    signature = types.uint64(words, types.intp, code, masks, types.int64)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> ir.Value:
        if signature.args[2].count > MOST_WORDS:
            if signature.args[3].count:
                return ir.Constant(ir.IntType(64), -1)
            return context.compile_internal(builder, _near_loop, signature, args)
        joined = ir.Constant(ir.IntType(64), 0)
        for first in range(0, GROUP, _lanes(signature)):
            bits = _differing(context, builder, signature, args, first)
            distances = _gathered(builder, bits, signature.args[2].count)
            found = _below(builder, distances, args[4])
            found = builder.zext(found, joined.type) if found.type.width < GROUP else found
            joined = builder.or_(joined, builder.shl(found, ir.Constant(joined.type, first)))
        return joined

    return signature, build


@intrinsic  # type: ignore[untyped-decorator]
def cost_of(
    typing_context: Any, words: Any, row: Any, code: Any, masks: Any, tables: Any
) -> tuple[Any, Build]:
    """Return the exact distance of one code or, if there are masks, its cost by tables."""
    signature = types.uint64(words, types.intp, code, masks, tables)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> ir.Value:
        loop = _cost_loop if signature.args[3].count else _distance_loop
        return context.compile_internal(builder, loop, signature, args)

    return signature, build


@intrinsic  # type: ignore[untyped-decorator]
def fetch_ahead(typing_context: Any, words: Any, word: Any) -> tuple[Any, Build]:
    """Prefetch a word into the cache; one past the end does no harm."""
    signature = types.void(words, types.intp)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> ir.Value:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        byte = ir.IntType(8).as_pointer()
        number = ir.IntType(32)
        name = "llvm.prefetch.p0i8" if f"{byte}" == "i8*" else "llvm.prefetch.p0"
        function = builder.module.globals.get(name)
        if function is None:
            kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
            function = ir.Function(builder.module, kind, name)
        place = builder.bitcast(builder.gep(array.data, [args[1]]), byte)
        builder.call(function, [place, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return signature, build


@intrinsic  # type: ignore[untyped-decorator]
def number_at(typing_context: Any, address: Any, place: Any, item: Any) -> tuple[Any, Build]:
    """Read one number of a column in memory; `item` is any number of the column's type."""
    signature = types.int64(types.int64, types.int64, item)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> ir.Value:
        kind = ir.IntType(signature.args[2].bitwidth)
        column = builder.inttoptr(args[0], kind.as_pointer())
        number = builder.load(builder.gep(column, [args[1]]), align=1)
        return builder.zext(number, ir.IntType(64))

    return signature, build


@intrinsic  # type: ignore[untyped-decorator]
def in_range(
    typing_context: Any, address: Any, row: Any, item: Any, low: Any, size: Any
) -> tuple[Any, Build]:
    """Return a mask of which of 64 column numbers lie in [low, low + size); see `number_at`."""
    signature = types.uint64(types.int64, types.int64, item, types.int64, types.int64)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> ir.Value:
        kind = ir.IntType(signature.args[2].bitwidth)
        column = builder.inttoptr(args[0], kind.as_pointer())
        numbers = _load(builder, column, args[1], ir.VectorType(kind, GROUP))
        low, size = (_splat(builder, _cast(builder, arg, kind), GROUP) for arg in args[3:])
        inside = builder.icmp_unsigned("<", builder.sub(numbers, low), size)
        return builder.bitcast(inside, ir.IntType(GROUP))

    return signature, build


def _lanes(signature: Any) -> int:
    """Return how many words of this type a vector holds."""
    return VECTOR_BITS // int(signature.args[0].dtype.bitwidth)


def _differing(context: Any, builder: Any, signature: Any, args: Any, first: int) -> ir.Value:
    """Count the differing bits of each word of as many codes as a vector has lanes.

    With masks, sum 2^j times the differing bits of mask j.
    """
    array = context.make_array(signature.args[0])(context, builder, args[0])
    count, lanes = signature.args[2].count, _lanes(signature)
    item = context.get_data_type(signature.args[0].dtype)
    kind = ir.VectorType(item, lanes * count)
    row = builder.add(args[1], ir.Constant(args[1].type, first))
    start = builder.mul(row, ir.Constant(row.type, count))
    codes = _load(builder, array.data, start, kind)
    differing = builder.xor(codes, _repeated(builder, args[2], 0, kind, count))
    num_masks = signature.args[3].count // count
    if not num_masks:
        return _call(builder, "ctpop", differing)
    total = None
    for j in reversed(range(num_masks)):
        mask = _repeated(builder, args[3], j * count, kind, count)
        bits = _call(builder, "ctpop", builder.and_(differing, mask))
        total = bits if total is None else builder.add(builder.add(total, total), bits)
    return total


def _repeated(
    builder: Any, words: ir.Value, first: int, kind: ir.VectorType, count: int
) -> ir.Value:
    """Fill a vector with `count` words of a tuple, starting at `first`, again and again."""
    code = ir.Constant(ir.VectorType(kind.element, count), ir.Undefined)
    for j in range(count):
        place = ir.Constant(ir.IntType(32), j)
        code = builder.insert_element(code, builder.extract_value(words, first + j), place)
    return builder.shuffle_vector(code, code, _places(j % count for j in range(kind.count)))


def _gathered(builder: Any, bits: ir.Value, count: int) -> ir.Value:
    """Sum the words of each code; one lane per code."""
    total = None
    for j in range(count):
        places = _places(range(j, bits.type.count, count))
        part = bits if count == 1 else builder.shuffle_vector(bits, bits, places)
        total = part if total is None else builder.add(total, part)
    return total


def _summed(builder: Any, bits: ir.Value, count: int) -> ir.Value:
    """Sum the words of each code, in any lanes.

    Lanes are swapped within a vector, which processors without AVX-512 do much faster than
    gathering lanes from several vectors.
    """
    if count & (count - 1):
        return _gathered(builder, bits, count)
    step = 1
    while step < count:
        places = _places(i ^ step for i in range(bits.type.count))
        bits = builder.add(bits, builder.shuffle_vector(bits, bits, places))
        step *= 2
    return bits


def _below(builder: Any, distances: ir.Value, bound: ir.Value) -> ir.Value:
    """Return an integer with one bit per distance, set if it is below the bound."""
    limit = _cast(builder, bound, distances.type.element)
    limits = _splat(builder, limit, distances.type.count)
    smaller = builder.icmp_unsigned("<", distances, limits)
    return builder.bitcast(smaller, ir.IntType(distances.type.count))


def _load(builder: Any, data: ir.Value, start: ir.Value, kind: ir.VectorType) -> ir.Value:
    pointer = builder.bitcast(builder.gep(data, [start]), kind.as_pointer())
    return builder.load(pointer, align=1)


def _cast(builder: Any, value: ir.Value, kind: ir.IntType) -> ir.Value:
    return value if value.type.width == kind.width else builder.trunc(value, kind)


def _splat(builder: Any, value: ir.Value, count: int) -> ir.Value:
    empty = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    single = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(single, empty, _places([0] * count))


def _places(numbers: Any) -> ir.Constant:
    places = list(numbers)
    return ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)


def _call(builder: Any, name: str, *values: ir.Value) -> ir.Value:
    """Call one of LLVM's vector functions."""
    kind = values[0].type
    full = f"llvm.{name}.v{kind.count}i{kind.element.width}"
    function = builder.module.globals.get(full)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(kind, [kind] * len(values)), full)
    return builder.call(function, values)


def _near_loop(words: Any, row: int, code: Any, masks: Any, bound: int) -> Any:
    """Do what `near` does for codes of many words."""
    found = numba.uint64(0)
    for i in range(GROUP):
        total = numba.int64(0)
        for j in range(len(code)):
            total += numba.int64(popcount(words[(row + i) * len(code) + j] ^ code[j]))
        if total < bound:
            found |= numba.uint64(1) << numba.uint64(i)
    return found


def _distance_loop(words: Any, row: int, code: Any, masks: Any, tables: Any) -> Any:
    """Do what `cost_of` does without masks."""
    total = numba.uint64(0)
    for j in range(len(code)):
        total += numba.uint64(popcount(words[row * len(code) + j] ^ code[j]))
    return total


def _cost_loop(words: Any, row: int, code: Any, masks: Any, tables: Any) -> Any:
    """Do what `cost_of` does with masks: look each byte up, the lowest of a word first."""
    total = numba.uint64(0)
    place = 0
    for j in range(len(code)):
        word = numba.uint64(words[row * len(code) + j])
        for _ in range(words.itemsize):
            total += numba.uint64(tables[place + (word & numba.uint64(255))])
            word >>= numba.uint64(8)
            place += 256
    return total
