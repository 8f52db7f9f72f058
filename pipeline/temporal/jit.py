"""How kernels are compiled: without the GIL, cached on disk."""

# ruff: noqa: ARG001
# Numba passes to a code generator what it may need.

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

i64: Any = np.int64
"""A whole number as kernels need it: without it, a byte or'ed with a number becomes a float."""
F = TypeVar("F", bound=Callable[..., Any])


_COMPILED = ("decode", "pipeline", "temporal", "versions")
"""Folders whose constants and functions go into kernels."""


def _cache_directory() -> Path:
    """One directory per state of our sources: numba's own check misses a change in a called module."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256(numba.__version__.encode())
    others = (package / "schema.py", package.parent / "state" / "entries.py")
    for source in sorted((*package.glob("*/*.py"), *others)):
        if source.parent.name in _COMPILED or source in others:
            digest.update(source.read_bytes())
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "bitlake" / "kernels" / digest.hexdigest()[:16]


if "NUMBA_CACHE_DIR" not in os.environ:
    numba.config.CACHE_DIR = str(_cache_directory())


_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_INTERNAL: dict[str, Any] = {"_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def kernel(function: F) -> F:
    """Compile `function`, which Python calls, with all that it calls; cached on disk.

    Plain Python where NUMBA_DISABLE_JIT=1.
    """
    return cast(F, njit(**_OPTIONS, cache=True)(function))


def inner(function: F) -> F:
    """Compile `function`, which only kernels call and which allocates nothing.

    It has no entry from Python: calling it from there crashes the process.
    Once for the types of its arguments: left alone, numba compiles it anew for every constant it is given.
    """
    compiled = njit(**_OPTIONS, **_INTERNAL)(function)
    if not numba.config.DISABLE_JIT:
        template = compiled.get_call_template

        def without_literals(args: Any, kws: Any) -> Any:
            named = {name: types.unliteral(value) for name, value in kws.items()}
            return template([types.unliteral(value) for value in args], named)

        compiled.get_call_template = without_literals
    return cast(F, compiled)


def spliced(function: F) -> F:
    """Like `inner`, for a function with one caller or two, which take it in whole: not compiled by itself."""
    return cast(F, njit(**_OPTIONS, **_INTERNAL, inline="always")(function))


@intrinsic
def _pointer(context: Any, array: Any) -> Any:
    pointer = types.CPointer(array.dtype)

    def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        return target.make_array(signature.args[0])(target, builder, args[0]).data

    return pointer(array), generate


@intrinsic
def _prefetch(context: Any, pointer: Any, at: Any) -> Any:
    def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.bitcast(builder.gep(args[0], [args[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [place, number(1), number(3), number(1)])
        return target.get_dummy_value()

    return types.none(pointer, types.intp), generate


def _word(target: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Where the 8 bytes at an index begin, of an array or a pointer of bytes."""
    data, kind = args[0], signature.args[0]
    if isinstance(kind, types.Array):
        data = target.make_array(kind)(target, builder, data).data
    return builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(64).as_pointer())


@intrinsic
def _load64(context: Any, data: Any, at: Any) -> Any:
    def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_word(target, builder, signature, args), align=1)

    return types.int64(data, types.int64), generate


@intrinsic
def _store64(context: Any, data: Any, at: Any, value: Any) -> Any:
    def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _word(target, builder, signature, args), align=1)
        return target.get_dummy_value()

    return types.none(data, types.int64, types.int64), generate


if numba.config.DISABLE_JIT:

    def load64(data: Any, at: int) -> int:
        """The 8 bytes at `at`, little-endian."""
        return int.from_bytes(data[at : at + 8].tobytes(), "little", signed=True)

    def store64(data: Any, at: int, value: int) -> None:
        """Store 8 bytes at `at`, little-endian."""
        data[at : at + 8] = np.frombuffer(int(value).to_bytes(8, "little", signed=True), np.uint8)

    def prefetch(pointer: Any, at: int) -> None:
        """Nothing: there is no cache to speak of."""

    def borrow(array: Any) -> Any:
        """The array's elements, flat."""
        return array.reshape(-1)
else:

    @inner
    def load64(data: Any, at: int) -> int:
        """The 8 bytes at `at`, little-endian."""
        return int(_load64(data, at))

    @inner
    def store64(data: Any, at: int, value: int) -> None:
        """Store 8 bytes at `at`, little-endian."""
        _store64(data, at, value)

    @inner
    def prefetch(pointer: Any, at: int) -> None:
        """Have the cache line of an element fetched, to be written soon."""
        _prefetch(pointer, at)

    @inner
    def borrow(array: Any) -> Any:
        """The array's elements, flat: a pointer, to be indexed as the array is.

        Kernels hand dozens of arrays down to each other. As pointers they cost nothing; as arrays, counting
        references to them takes a third of the time, and compiling that takes a minute.
        """
        return _pointer(array)
