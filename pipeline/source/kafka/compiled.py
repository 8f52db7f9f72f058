"""How the kernels here are compiled, and the processor's CRC32C."""

# ruff: noqa: ARG001
# Numba passes to a code generator what it may need.

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from pipeline.decode.memory import entry_point as cached
from pipeline.decode.memory import inlined, kernel

Function = TypeVar("Function", bound=Callable[..., Any])
_KERNELS = ("batches.py", "compiled.py", "unpack.py", "walk.py")
_REVERSED_CASTAGNOLI = 0x82F63B78


@cache
def _sources() -> str:
    return hashlib.sha256(
        b"".join(p.read_bytes() for p in sorted(Path(__file__).parent.glob("*.py")))
    ).hexdigest()


def entry_point(function: Function) -> Function:
    """A kernel that Python calls; cached on disk until one of these files changes."""
    compiled = cached(function)
    if not config.DISABLE_JIT:
        found = cast(Any, compiled)._cache
        key = found._index_key
        found._index_key = lambda signature, codegen: (*key(signature, codegen), _sources())
    return compiled


def _table() -> Any:
    """For eight bytes at a time, as processors without the instruction need it ("slicing by 8")."""
    table = np.zeros((8, 256), np.int64)
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_REVERSED_CASTAGNOLI if crc & 1 else 0)
        table[0, byte] = crc
    for row in range(1, 8):
        table[row] = table[row - 1] >> 8 ^ table[0, table[row - 1] & 255]
    return table.reshape(-1)


def _crc_by_table(crc: Any, word: Any, table: Any) -> Any:
    word = int(word) ^ int(crc)
    result = 0
    for byte in range(8):
        result ^= int(table[(7 - byte) * 256 + (word >> 8 * byte & 255)])
    return result


def _crc_by_processor(name: str) -> Any:
    """LLVM's intrinsic for a word of eight bytes; x86 takes and gives 64 bits, ARM 32."""
    word = ir.IntType(64)
    state = word if name.startswith("llvm.x86") else ir.IntType(32)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(state, [state, word])
        called = cgutils.get_or_insert_function(builder.module, kind, name)
        crc = args[0] if state is word else builder.trunc(args[0], state)
        result = builder.call(called, [crc, args[1]])
        return result if state is word else builder.zext(result, word)

    def typed(typingctx: Any, crc: Any, word: Any, table: Any) -> Any:
        return types.int64(types.int64, types.uint64, table), generate

    return intrinsic(typed)


def _crc_by_table_compiled() -> Any:
    @inlined
    def step(crc: Any, word: Any, table: Any) -> Any:
        mixed = np.uint64(word) ^ np.uint64(crc)
        result = np.int64(0)
        for byte in range(8):
            at = np.int64(mixed >> np.uint64(8 * byte) & np.uint64(255))
            result ^= table[(7 - byte) * 256 + at]
        return result

    return step


def _crc_step() -> Any:
    if config.DISABLE_JIT:
        return _crc_by_table
    generic = config.CPU_NAME == "generic" or config.CPU_FEATURES is not None
    features = {} if generic else llvm.get_host_cpu_features()
    if features.get("sse4.2"):
        return _crc_by_processor("llvm.x86.sse42.crc32.64.64")
    if features.get("crc"):
        return _crc_by_processor("llvm.aarch64.crc32cx")
    return _crc_by_table_compiled()


CRC_TABLE = _table()
crc_step = _crc_step()
"""``crc_step(crc, word, CRC_TABLE)``: the checksum's next state (CRC32C) after eight bytes."""

__all__ = ["CRC_TABLE", "Function", "crc_step", "entry_point", "inlined", "kernel"]
