"""Durations and sizes as people write them: ``10s``, ``1h``, ``30d``, ``4GB``."""

import re
from datetime import timedelta

_DURATION = {
    "us": timedelta(microseconds=1),
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_SIZE = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)")

DURATION_FIX = "write a number and a unit: us, ms, s, m, h, d or w, such as 500ms, 1h or 30d"
SIZE_FIX = "write a number and a unit: KB, MB, GB, TB (or KiB, MiB, GiB, TiB), such as 4GB"


def parse_duration(text: str) -> timedelta:
    """Read ``1h``, ``500ms``, ``1.5d``.

    Raises:
        ValueError: when the text is not a number and a known unit.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if not match or match[2].lower() not in _DURATION:
        raise ValueError(f"'{text}' is not a duration")
    try:
        return float(match[1]) * _DURATION[match[2].lower()]
    except OverflowError:
        raise ValueError(f"'{text}' is too long a duration") from None


def parse_size(text: str) -> int:
    """Read ``4GB`` or ``512MiB`` as a number of bytes.

    Raises:
        ValueError: when the text is not a number and a known unit.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if not match or match[2].lower() not in _SIZE:
        raise ValueError(f"'{text}' is not a size")
    size = int(float(match[1]) * _SIZE[match[2].lower()])
    if size < 1:
        raise ValueError(f"'{text}' is no memory at all")
    return size
