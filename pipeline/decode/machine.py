"""Unaligned words, wide products and bit counts, for kernels.

Compiled, each is one or two instructions, without numba's handling of negative indices. Callers
check bounds. With ``NUMBA_DISABLE_JIT=1`` the same names are plain Python.
"""

# ruff: noqa: ARG001
# Numba passes to a code generator what it may need.

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj


def _load8(array: Any, at: Any) -> Any:
    return int(array[at])


def _load64(array: Any, at: Any) -> Any:
    return np.uint64(int.from_bytes(array[at : at + 8].tobytes(), "little"))


def _store8(array: Any, at: Any, value: Any) -> None:
    array[at] = int(value) & 0xFF


def _store64(array: Any, at: Any, value: Any) -> None:
    array[at : at + 8] = np.frombuffer((int(value) & (2**64 - 1)).to_bytes(8, "little"), np.uint8)


def _multiply_high(left: Any, right: Any) -> Any:
    return np.uint64(int(left) * int(right) >> 64)


def _trailing_zeros(word: Any) -> Any:
    return (int(word) & -int(word)).bit_length() - 1


def _leading_zeros(word: Any) -> Any:
    return 64 - int(word).bit_length()


def _float_bits(value: Any) -> Any:
    return int(np.float64(value).view(np.int64))


def _bits_float(bits: Any) -> Any:
    return np.int64(bits).view(np.float64)


def _compiled() -> dict[str, Any]:  # noqa: C901 - many small generators
    word = ir.IntType(64)

    def pointer(context: Any, builder: Any, signature: Any, args: Any, width: int) -> Any:
        data = arrayobj.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.bitcast(cgutils.gep(builder, data, args[1]), ir.IntType(width).as_pointer())

    def load(width: int) -> Any:
        result = types.uint64 if width == 64 else types.int64

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = builder.load(pointer(context, builder, signature, args, width), align=1)
            return value if width == 64 else builder.zext(value, word)

        def typed(typingctx: Any, array: Any, at: Any) -> Any:
            return result(array, types.int64), codegen

        return intrinsic(typed)

    def store(width: int) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = args[2] if width == 64 else builder.trunc(args[2], ir.IntType(width))
            builder.store(value, pointer(context, builder, signature, args, width), align=1)
            return context.get_dummy_value()

        def typed(typingctx: Any, array: Any, at: Any, value: Any) -> Any:
            return types.none(array, types.int64, types.int64), codegen

        return intrinsic(typed)

    def product(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        both = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(both, ir.Constant(wide, 64)), word)

    def typed_product(typingctx: Any, left: Any, right: Any) -> Any:
        return types.uint64(types.uint64, types.uint64), product

    def count(name: str) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, name)(args[0], ir.Constant(ir.IntType(1), 0))

        def typed(typingctx: Any, value: Any) -> Any:
            return types.int64(types.uint64), codegen

        return intrinsic(typed)

    def cast_bits(source: Any, target: Any, to: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], to)

        def typed(typingctx: Any, value: Any) -> Any:
            return target(source), codegen

        return intrinsic(typed)

    return {
        "load8": load(8),
        "load64": load(64),
        "store8": store(8),
        "store64": store(64),
        "multiply_high": intrinsic(typed_product),
        "trailing_zeros": count("cttz"),
        "leading_zeros": count("ctlz"),
        "float_bits": cast_bits(types.float64, types.int64, word),
        "bits_float": cast_bits(types.int64, types.float64, ir.DoubleType()),
    }


_machine: dict[str, Any] = {} if config.DISABLE_JIT else _compiled()

load8 = _machine.get("load8", _load8)
"""``array[at]`` of a uint8 array as a signed 64-bit integer."""
load64 = _machine.get("load64", _load64)
"""The 8 bytes at ``at`` as a little-endian uint64."""
store8 = _machine.get("store8", _store8)
"""Store the low byte of an integer."""
store64 = _machine.get("store64", _store64)
"""Store 8 little-endian bytes."""
multiply_high = _machine.get("multiply_high", _multiply_high)
"""The upper half of the 128-bit product of two uint64."""
trailing_zeros = _machine.get("trailing_zeros", _trailing_zeros)
"""The number of zero bits below the lowest set bit of a uint64 (not 0)."""
leading_zeros = _machine.get("leading_zeros", _leading_zeros)
"""The number of zero bits above the highest set bit of a uint64 (not 0)."""
float_bits = _machine.get("float_bits", _float_bits)
"""The bits of a double as an int64."""
bits_float = _machine.get("bits_float", _bits_float)
"""The double that has these bits."""
