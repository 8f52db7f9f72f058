"""How the decoder's kernels are compiled, and what all of them do with memory."""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numba import config, njit, types

from pipeline.decode.machine import load8, load64, store8, store64

signed: Any = np.int64
"""A number as int64; the bits of a uint64 as they are."""

Function = TypeVar("Function", bound=Callable[..., Any])


_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
_INTERNAL: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def _compiled_once(function: Function, **options: Any) -> Function:
    """Compile a function for the types of its arguments only, not anew for every constant it is given."""
    compiled = njit(**_OPTIONS, **options)(function)
    if not config.DISABLE_JIT:
        template = compiled.get_call_template

        def without_literals(args: Any, kws: Any) -> Any:
            named = {name: types.unliteral(value) for name, value in kws.items()}
            return template([types.unliteral(value) for value in args], named)

        compiled.get_call_template = without_literals
    return cast(Function, compiled)


def kernel(function: Function) -> Function:
    """Compile a function for use without the GIL.

    Without numba's reference counts, which cost more than the work between them: kernels allocate nothing.
    """
    return _compiled_once(function, **_INTERNAL)


@cache
def _sources() -> str:
    """A digest of what kernels are made of."""
    folder = Path(__file__).parent
    sources = [*sorted(folder.glob("*.py")), folder.parent / "schema.py"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def entry_point(function: Function) -> Function:
    """Like `kernel`, for one called from Python: cached on disk with all it calls.

    Numba looks at a function's own file only, and would go on using what it called before a change.
    """
    compiled = _compiled_once(function, cache=True)
    if not config.DISABLE_JIT:
        found = cast(Any, compiled)._cache
        key = found._index_key
        found._index_key = lambda signature, codegen: (*key(signature, codegen), _sources())
    return compiled


def inlined(function: Function) -> Function:
    """Like `kernel`, for a function that its callers take in whole."""
    return _compiled_once(function, forceinline=True, **_INTERNAL)


def spliced(function: Function) -> Function:
    """Like `inlined`, for a large function with one caller: not compiled by itself before."""
    return cast(Function, njit(**_OPTIONS, inline="always")(function))


@inlined
def peek(array: Any, at: int, end: int) -> int:
    """The byte at ``at``, or 0 at the end (a NUL is never valid where this is used)."""
    return load8(array, at) if at < end else 0


@inlined
def copy(source: Any, start: int, length: int, target: Any, to: int) -> None:
    """Copy bytes between arrays."""
    done = 0
    while done + 8 <= length:
        store64(target, to + done, signed(load64(source, start + done)))
        done += 8
    while done < length:
        store8(target, to + done, load8(source, start + done))
        done += 1
