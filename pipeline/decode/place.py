"""Where in a record something is: the path to a byte of it, for dead letters."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.machine import load8, store8
from pipeline.decode.memory import copy, entry_point, kernel

LONGEST = 200
"""Bytes of a path that are told."""
_STEPS = 1024
"""Containers in each other that are told; deeper records are not read at all by default."""
_ROOM = LONGEST + 8


@kernel
def _text_end(buffer: Any, at: int) -> int:
    """The closing quote of the string whose opening quote is at ``at``."""
    at += 1
    while load8(buffer, at) != 34:
        at += 2 if load8(buffer, at) == 92 else 1
    return at


@kernel
def _steps(buffer: Any, at: int, target: int, steps: Any) -> int:
    """Note the member's name in each container around ``target`` (empty: an element); returns the depth."""
    depth, name = 0, False
    while at <= target:
        byte = load8(buffer, at)
        if byte == 34:
            end = _text_end(buffer, at)
            if name:
                steps[depth - 1, 0] = at + 1
                steps[depth - 1, 1] = end
                name = False
            at = end
        elif at == target:
            break
        elif byte == 123 or byte == 91:
            steps[depth, 0] = -1 if byte == 91 else at
            steps[depth, 1] = steps[depth, 0]
            depth = min(depth + 1, len(steps) - 1)
            name = byte == 123
        elif byte == 125 or byte == 93:
            depth -= 1
            name = False
        elif byte == 44:
            name = steps[depth - 1, 0] >= 0
        at += 1
    return depth


@entry_point
def write_paths(buffer: Any, starts: Any, targets: Any, outer: int, steps: Any, out: Any, ends: Any) -> None:
    """Write the paths to ``targets`` in the documents at ``starts``, less their ``outer`` first steps."""
    for i in range(len(starts)):
        depth = _steps(buffer, starts[i], targets[i], steps)
        first = i * _ROOM
        to = first
        for step in range(outer, depth):
            at, end = steps[step, 0], steps[step, 1]
            if end <= at:
                continue
            if to > first:
                store8(out, to, 46)
                to += 1
            room = first + LONGEST - to
            if end - at > room:
                end = at + max(room, 0)
                while end > at and load8(buffer, end) & 0xC0 == 0x80:
                    end -= 1
            copy(buffer, at, end - at, out, to)
            to += end - at
            if to >= first + LONGEST - 4:
                break
        ends[i] = to


def paths(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], targets: NDArray[np.int64], *, outer: int
) -> list[str]:
    """The paths, names joined by dots and as they are spelled, to places in JSON documents.

    Args:
        buffer: the bytes.
        starts: int64[n], where the documents begin; they are JSON.
        targets: int64[n], the places: where a value begins, or a member's name.
        outer: how many steps to leave out at the beginning.
    """
    out = np.empty(len(starts) * _ROOM + 8, np.uint8)
    ends = np.empty(len(starts), np.int64)
    steps = np.zeros((_STEPS, 2), np.int64)
    write_paths(buffer, starts, targets, outer, steps, out, ends)
    return [out[i * _ROOM : end].tobytes().decode() for i, end in enumerate(ends.tolist())]
