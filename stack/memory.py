"""Sizes of memory, as Flink and Java write them: 1728m, 2g."""

import os
import re

_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def normal(text: str) -> str:
    """A size in the one form that both Java and Flink take: ``2 GB`` is ``2g``.

    Raises:
        ValueError: it is none.
    """
    found = re.fullmatch(r"\s*(\d+)\s*([kmgt])b?\s*", text, re.IGNORECASE | re.ASCII)
    if found is None:
        raise ValueError(f"'{text}' is no size")
    return f"{int(found[1])}{found[2].lower()}"


def size(text: str) -> int:
    """How many bytes a size in the form of `normal` is."""
    return int(text[:-1]) * _UNITS[text[-1]]


def machine() -> int:
    """The bytes of memory that this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def spelled(size: int) -> str:
    """Whole megabytes, rounded down: what can be written instead of too much."""
    return f"{size // _UNITS['m']}m"
