"""Vector operations that NumPy has no name for, as numba intrinsics: LLVM chooses the instructions of the processor.

Bit i of a word stands for value i. Offsets (`at`, `base`, `to`) and pitches count elements of flat arrays. numba keeps
compiled functions on disk until the file of the function changes: after a change here, remove `__pycache__`.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

WORD = 64  # values of a packed word
VECTOR = 512  # bits that compiled code works on at a time
LANES = VECTOR // 16  # 16-bit values of a vector

_I1, _I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
_ALL_ONES = (1 << WORD) - 1

Codegen = Callable[[Any, ir.IRBuilder, Any, Any], Any]
Arrays = Mapping[int, tuple[types.Type, ...]]  # types that the argument at a place may have


def jit(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compiled at the first call; the code is kept on disk for the next process, where there is a folder to write to.

    Nothing compiled here makes an array, so it does without numba's reference counts (`_nrt`), which cost more than
    the work of a short inner function.
    """
    options |= {"_nrt": False, "nogil": True}  # several layers may work at the same time, in threads
    try:
        return numba.njit(function, cache=True, **options)
    except RuntimeError:  # numba: "cannot cache function"
        return numba.njit(function, **options)


inlined = functools.partial(jit, forceinline=True)  # for the body of a loop: a call would push every field of a tuple


def _operation(describe: Callable[..., tuple[Any, Codegen]]) -> Callable[..., Any]:
    """A function for compiled code, from one that takes the types of the arguments: its signature and its LLVM code."""
    return intrinsic(describe)


def _typed(arrays: Arrays, signature: Any, generate: Codegen) -> tuple[Any, Codegen]:
    """A signature whose arguments are flat arrays of one of these types at these places, and integers elsewhere."""
    for place, allowed in arrays.items():
        array = signature.args[place]
        if not isinstance(array, types.Array) or array.ndim != 1 or array.layout != "C" or array.dtype not in allowed:
            raise TypingError(f"argument {place}: {array}; allowed: flat contiguous arrays of {allowed}")
    return signature, generate


def _pointer(context: Any, builder: ir.IRBuilder, kind: Any, array: Any, offset: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [offset])


def _load(builder: ir.IRBuilder, pointer: Any, element: ir.Type, lanes: int) -> Any:
    vector = ir.VectorType(element, lanes)
    return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=1, typ=vector)


def _store(builder: ir.IRBuilder, values: Any, pointer: Any) -> None:
    builder.store(values, builder.bitcast(pointer, values.type.as_pointer()), align=1)


def _constants(element: ir.Type, values: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(element, len(values)), values)


def _repeated(builder: ir.IRBuilder, value: Any, lanes: int) -> Any:
    undefined = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, first, _constants(_I32, [0] * lanes))


@_operation
def popcount(typingctx: Any, bits: Any) -> tuple[Any, Codegen]:
    """How many bits are set."""
    return types.int64(types.uint64), lambda context, builder, signature, args: builder.ctpop(args[0])


@_operation
def first_bit(typingctx: Any, bits: Any) -> tuple[Any, Codegen]:
    """Place of the lowest bit that is set; 64 if none is."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(_I1, 0))

    return types.int64(types.uint64), generate


@_operation
def _pack(typingctx: Any, values: Any, at: Any) -> tuple[Any, Codegen]:

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        bytes_ = _load(builder, _pointer(context, builder, signature.args[0], *args), _I8, WORD)
        return builder.bitcast(builder.icmp_unsigned("!=", bytes_, ir.Constant(bytes_.type, None)), _I64)

    return _typed({0: (types.int8,)}, types.uint64(values, types.int64), generate)


@inlined
def pack(values: Any, at: int) -> Any:
    """Which of the 64 int8 values from `at` on are not 0, of at least 64; behind the last all are 0."""
    beyond = max(0, at + WORD - values.size)  # nothing is read there
    return _pack(values, at - beyond) >> np.uint64(beyond)


@_operation
def transpose_bits(typingctx: Any, words: Any, at: Any) -> tuple[Any, Codegen]:
    """Turn the 64 words from `at` on in place: bit i of word j becomes bit j of word i.

    Six rounds, in which words and bits swap blocks of 32, 16 ... 1 (Warren, Hacker's Delight, section 7-3).
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *args)
        rows = _load(builder, pointer, _I64, WORD)
        for size in (32, 16, 8, 4, 2, 1):
            low = sum(1 << bit for bit in range(WORD) if not bit & size)
            upper = [not row & size for row in range(WORD)]  # rows that keep their low bits
            partner = builder.shuffle_vector(rows, rows, _constants(_I32, [row ^ size for row in range(WORD)]))
            left = builder.shl(partner, _constants(_I64, [size if is_upper else 0 for is_upper in upper]))
            moved = builder.lshr(left, _constants(_I64, [0 if is_upper else size for is_upper in upper]))
            kept = _constants(_I64, [low if is_upper else _ALL_ONES ^ low for is_upper in upper])
            replaced = _constants(_I64, [_ALL_ONES ^ low if is_upper else low for is_upper in upper])
            rows = builder.or_(builder.and_(rows, kept), builder.and_(moved, replaced))
        _store(builder, rows, pointer)
        return context.get_dummy_value()

    return _typed({0: (types.uint64,)}, types.void(words, types.int64), generate)


def _row_adder(width: int) -> Callable[..., Any]:
    """An intrinsic for rows of `width` weights, which it holds in vector registers while it adds."""

    @_operation
    def add_rows(
        typingctx: Any, sums: Any, at: Any, weights: Any, base: Any, events: Any, begin: Any, end: Any
    ) -> tuple[Any, Codegen]:
        """sums[at : at + width] += the rows weights[base + event * width :] of events[begin : end].

        The rows are added up in 16 bits: the caller sees to it that these suffice for `end - begin` weights. Rows of
        int8 are as `paired` lays them out.
        """

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            _, at, _, base, _, begin, end = args
            sums_at, weights_at, events_at = (
                _pointer(context, builder, signature.args[place], args[place], offset)
                for place, offset in ((0, at), (2, base), (4, ir.Constant(_I64, 0)))
            )
            total, sum_ = ir.VectorType(_I16, LANES), ir.IntType(signature.args[0].dtype.bitwidth)
            in_pairs = signature.args[2].dtype == types.int8
            before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
            builder.cbranch(builder.icmp_signed("<", begin, end), loop, after)

            builder.position_at_end(loop)
            event = builder.phi(_I64)
            so_far = [builder.phi(total) for _ in range(width // LANES)]
            row = builder.sext(builder.load(builder.gep(events_at, [event]), typ=_I32), _I64)
            row_at = builder.gep(weights_at, [builder.mul(row, ir.Constant(_I64, width))])
            parts = []
            for column in range(0, width, 2 * LANES if in_pairs else LANES):
                parts.append(_load(builder, builder.gep(row_at, [ir.Constant(_I64, column)]), _I16, LANES))
                if in_pairs:
                    parts.append(builder.ashr(parts[-1], _constants(_I16, [8] * LANES)))
            added = [builder.add(partial, part) for partial, part in zip(so_far, parts, strict=True)]
            following = builder.add(event, ir.Constant(_I64, 1))
            builder.cbranch(builder.icmp_signed("<", following, end), loop, after)

            builder.position_at_end(after)
            results = [builder.phi(total) for _ in added]
            event.add_incoming(begin, before)
            event.add_incoming(following, loop)
            for partial, result, new in zip(so_far, results, added, strict=True):
                for phi in (partial, result):
                    phi.add_incoming(ir.Constant(total, None), before)
                    phi.add_incoming(new, loop)
            if in_pairs:
                rows = builder.trunc(builder.sub(end, begin), _I16)
                results = _unpaired(builder, results, _repeated(builder, rows, LANES))
            for column, result in enumerate(results):
                place = builder.gep(sums_at, [ir.Constant(_I64, column * LANES)])
                old = _load(builder, place, sum_, LANES)
                _store(builder, builder.add(old, result if sum_ == _I16 else builder.sext(result, old.type)), place)
            return context.get_dummy_value()

        i = types.int64
        arrays: Arrays = {0: (types.int16, types.int32), 2: (types.int8, types.int16), 4: (types.int32,)}
        return _typed(arrays, types.void(sums, i, weights, i, events, i, i), generate)

    return add_rows


def paired(rows: Any) -> Any:
    """Rows of int8 weights [..., width] as `add_narrow_rows` and `add_wide_rows` take them.

    A lane of 16 bits holds two weights, 32 outputs apart, the first of them plus 128. So a lane is added as it is, and
    once more without its lower byte: sums of 16 bits wrap, and what the upper bytes brought is taken off at the end.
    Widening every weight to 16 bits would take more instructions.
    """
    pairs = rows.reshape(*rows.shape[:-1], -1, 2, LANES)
    first, second = pairs[..., 0, :] ^ np.int8(-128), pairs[..., 1, :]
    return np.stack([first, second], axis=-1).reshape(rows.shape)


def _unpaired(builder: ir.IRBuilder, sums: list[Any], rows: Any) -> list[Any]:
    """Sums of the weights of `rows` rows, from sums of lanes and of their upper bytes in turn."""
    byte, results = _constants(_I16, [8] * LANES), []
    extra = builder.mul(rows, _constants(_I16, [1 << 7] * LANES))
    for lanes, upper in zip(sums[::2], sums[1::2], strict=True):
        results += [builder.sub(builder.sub(lanes, builder.shl(upper, byte)), extra), upper]
    return results


NARROW, WIDE = 2 * LANES, 4 * LANES
add_narrow_rows, add_wide_rows = _row_adder(NARROW), _row_adder(WIDE)


@_operation
def store_transposed(
    typingctx: Any, sums: Any, at: Any, pitch: Any, out: Any, to: Any, out_pitch: Any, left: Any, right: Any
) -> tuple[Any, Codegen]:
    """out[to + j * out_pitch + i] = sums[at + i * pitch + j] << left >> right for i and j below the length of a vector.

    The rows of `out` are written in order, each as a whole.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        _, at, pitch, _, to, out_pitch, left, right = args
        element = ir.IntType(signature.args[0].dtype.bitwidth)
        size = VECTOR // element.width

        def row_at(place: int, start: Any, step: Any, index: int) -> Any:
            offset = builder.add(start, builder.mul(step, ir.Constant(_I64, index)))
            return _pointer(context, builder, signature.args[place], args[place], offset)

        rows = [_load(builder, row_at(0, at, pitch, i), element, size) for i in range(size)]
        half = size // 2
        while half:
            low = _constants(_I32, [j if not j & half else j - half + size for j in range(size)])
            high = _constants(_I32, [j + half if not j & half else j + size for j in range(size)])
            for i in range(size):
                if not i & half:
                    pair = rows[i], rows[i + half]
                    rows[i], rows[i + half] = (builder.shuffle_vector(*pair, order) for order in (low, high))
            half //= 2
        left, right = (_repeated(builder, builder.trunc(amount, element), size) for amount in (left, right))
        for j, row in enumerate(rows):
            _store(builder, builder.ashr(builder.shl(row, left), right), row_at(3, to, out_pitch, j))
        return context.get_dummy_value()

    i, kinds = types.int64, (types.int16, types.int32)
    return _typed({0: kinds, 3: (sums.dtype,)}, types.void(sums, i, i, out, i, i, i, i), generate)
