"""Values nobody asked for, and values kept as JSON text: checked, not decoded."""

from typing import Any

from pipeline.decode.layout import R_CONTENT, R_MAX_DEPTH, Code
from pipeline.decode.machine import load8
from pipeline.decode.memory import inlined, kernel, peek
from pipeline.decode.numeric import scan_number
from pipeline.decode.text import broken, scan_text, skip_space

_NOT_JSON, _TRUNCATED, _TOO_DEEP = int(Code.NOT_JSON), int(Code.TRUNCATED), int(Code.TOO_DEEP)


@inlined
def unexpected(at: int, end: int, registers: Any) -> int:
    """Note that the byte at ``at`` can't stand there, or that the record ends too early."""
    return broken(registers, _TRUNCATED if at >= end else _NOT_JSON, at)


@kernel
def scan_literal(buffer: Any, at: int, end: int, registers: Any) -> int:
    """The position behind ``true``, ``false`` or ``null``; -1 if it is none of them."""
    mark = peek(buffer, at, end)
    size = 5 if mark == 102 else 4
    for k in range(1, size):
        if mark == 116:
            wanted = 114 if k == 1 else 117 if k == 2 else 101
        elif mark == 102:
            wanted = 97 if k == 1 else 108 if k == 2 else 115 if k == 3 else 101
        elif mark == 110:
            wanted = 117 if k == 1 else 108
        else:
            return unexpected(at, end, registers)
        if peek(buffer, at + k, end) != wanted:
            return unexpected(at + k, end, registers)
    return at + size


@kernel
def _skip_scalar(buffer: Any, at: int, end: int, registers: Any) -> int:
    mark = peek(buffer, at, end)
    if mark == 34:
        registers[R_CONTENT] = 1
        packed = scan_text(buffer, at + 1, end, registers)
        return packed if packed < 0 else packed >> 1
    if mark == 45 or (mark >= 48 and mark <= 57):
        registers[R_CONTENT] = 1
        after = scan_number(buffer, at, end)[0]
        return after if after >= 0 else unexpected(-1 - after, end, registers)
    if mark != 110:
        registers[R_CONTENT] = 1
    return scan_literal(buffer, at, end, registers)


@kernel
def skip_value(  # noqa: C901 - one loop instead of recursion
    buffer: Any, at: int, end: int, depth: int, stack: Any, registers: Any
) -> int:
    """The position behind the value at ``at``, or -1.

    Sets R_CONTENT to 1 if it holds anything but nulls and objects of nulls.

    Args:
        buffer, at, end: the value's place.
        depth: how many containers are open around it.
        stack: scratch for one mark per open container.
        registers: the decoder's registers.
    """
    base = depth
    registers[R_CONTENT] = 0
    while True:
        mark = peek(buffer, at, end)
        opened = mark == 123 or mark == 91
        if opened:
            if depth >= registers[R_MAX_DEPTH]:
                return broken(registers, _TOO_DEEP, at)
            if mark == 91:
                registers[R_CONTENT] = 1
            stack[depth] = mark
            depth += 1
            at += 1
        else:
            at = _skip_scalar(buffer, at, end, registers)
            if at < 0:
                return -1
        while True:
            if depth == base:
                return at
            at = skip_space(buffer, at, end)
            mark = peek(buffer, at, end)
            if mark == stack[depth - 1] + 2:
                depth -= 1
                at += 1
                opened = False
                continue
            if not opened:
                if mark != 44:
                    return unexpected(at, end, registers)
                at = skip_space(buffer, at + 1, end)
            if stack[depth - 1] == 123:
                at = _skip_name(buffer, at, end, registers)
                if at < 0:
                    return -1
            break


@inlined
def _skip_name(buffer: Any, at: int, end: int, registers: Any) -> int:
    """From a member's name to its value."""
    if peek(buffer, at, end) != 34:
        return unexpected(at, end, registers)
    packed = scan_text(buffer, at + 1, end, registers)
    if packed < 0:
        return -1
    at = skip_space(buffer, packed >> 1, end)
    if at >= end or load8(buffer, at) != 58:
        return unexpected(at, end, registers)
    return skip_space(buffer, at + 1, end)
