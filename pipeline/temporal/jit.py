"""How kernels are compiled: without the GIL, cached on disk."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import njit
from numba.core import cgutils
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])


def _cache_directory() -> Path:
    """One directory per state of our sources: numba's own check misses a change in a called module."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(package.rglob("*.py")):
        text = source.read_bytes()
        if b"kernel" in text:
            digest.update(text)
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "bitlake" / "kernels" / digest.hexdigest()[:16]


if "NUMBA_CACHE_DIR" not in os.environ:
    numba.config.CACHE_DIR = str(_cache_directory())


def kernel(function: F) -> F:
    """Compile `function` at its first call; plain Python where NUMBA_DISABLE_JIT=1."""
    return cast(F, njit(nogil=True, cache=True, error_model="numpy")(function))


@intrinsic  # type: ignore[untyped-decorator]
def _disown(context: Any, array: Any) -> Any:
    def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        owned = target.make_array(signature.args[0])(target, builder, args[0])
        view = target.make_array(signature.return_type)(target, builder)
        for field in ("data", "nitems", "itemsize", "shape", "strides"):
            setattr(view, field, getattr(owned, field))
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), generate


if numba.config.DISABLE_JIT:

    def borrow(array: Any) -> Any:
        """The array itself."""
        return array
else:

    @kernel
    def borrow(array: Any) -> Any:
        """A view without an owner: counting references to it costs nothing, where it would cost a third."""
        return _disown(array)
