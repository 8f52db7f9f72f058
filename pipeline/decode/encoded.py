"""UUIDs and base64 in strings."""

from typing import Any

import numpy as np

from pipeline.decode.machine import load8, store8
from pipeline.decode.memory import inlined, kernel, signed
from pipeline.decode.text import hex_digit


@kernel
def parse_uuid(text: Any, at: int, end: int) -> Any:
    """(whether it is one, first 8 bytes, last 8 bytes) of a hyphenated UUID, words little-endian."""
    first, last, seen = np.uint64(0), np.uint64(0), 0
    if end - at != 36:
        return False, 0, 0
    for k in range(36):
        byte = load8(text, at + k)
        if k == 8 or k == 13 or k == 18 or k == 23:
            if byte != 45:
                return False, 0, 0
            continue
        digit = hex_digit(byte)
        if digit < 0:
            return False, 0, 0
        shift = (seen & 14) * 4 + (0 if seen & 1 else 4)
        if seen < 16:
            first = first | (np.uint64(digit) << np.uint64(shift))
        else:
            last = last | (np.uint64(digit) << np.uint64(shift))
        seen += 1
    return True, signed(first), signed(last)


@inlined
def _sextet(byte: int) -> int:
    if byte >= 65 and byte <= 90:
        return byte - 65
    if byte >= 97 and byte <= 122:
        return byte - 71
    if byte >= 48 and byte <= 57:
        return byte + 4
    if byte == 43:
        return 62
    if byte == 47:
        return 63
    return -1


@kernel
def decode_base64(text: Any, at: int, end: int, target: Any, to: int) -> int:
    """Write the bytes of standard, padded base64 to ``target``; returns their end, or -1 (RFC 4648).

    Bits that padding leaves over must be 0, so that equal bytes have one spelling.
    """
    if (end - at) % 4 != 0:
        return -1
    while at < end:
        pads = 0
        if at + 4 == end and load8(text, end - 1) == 61:
            pads = 2 if load8(text, end - 2) == 61 else 1
        word = 0
        for k in range(4):
            digit = 0
            if k < 4 - pads:
                digit = _sextet(load8(text, at + k))
            if digit < 0:
                return -1
            word = word * 64 + digit
        if (pads == 1 and word & 0xFF != 0) or (pads == 2 and word & 0xFFFF != 0):
            return -1
        store8(target, to, word >> 16)
        if pads < 2:
            store8(target, to + 1, (word >> 8) & 0xFF)
        if pads < 1:
            store8(target, to + 2, word & 0xFF)
        to += 3 - pads
        at += 4
    return to
