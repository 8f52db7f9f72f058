"""Where open segments live: a few flat arrays, reserved once and committed by the OS as they fill.

A key has two lists of segments: its parent's (disjoint) and its children's (of any child, they may
overlap each other). A list is a directory of pages; a page holds up to 64 segments in order of
(start, aux), so that a change costs the same in a history of ten segments or ten thousand.
"""

import mmap
import os
import sys
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.temporal.jit import borrow, spliced

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

# Fields of a segment: columns of `segments`. TAG is AUX, shifted left by AUX_SHIFT, SHARED and META.
START, TAG, END, SYSTEM, OFFSET, VALUE = range(6)
SEGMENT_FIELDS = 6
META_BITS, AUX_SHIFT, AUX_BITS = 24, 25, 38
"""META tells what the segment came of (see `pipeline.temporal.change`); AUX orders children of one start."""
SHARED = 1 << META_BITS
"""Of parents: other segments may have the same value in the arena, so that it outlives this one."""
# Fields of a page in a directory: columns of `pages`. LATEST is the latest end in it, of children only.
FIRST, FIRST_AUX, BASE, COUNT, CLASS, LATEST = range(6)
PAGE_FIELDS = 6
# Fields of a key: columns of `keys`. A list takes three: directory, its pages in use, its size class.
LAST, PARENTS, PARENT_PAGES, PARENT_CLASS, CHILDREN, CHILD_PAGES, CHILD_CLASS, FLAGS = range(8)
KEY_FIELDS = 8
NEVER = -(2**62)
"""Before any system time. LAST counts from here, so that a key never written has no last system time."""
DIRTY, STRAYED = 1, 2
"""Bits of a key's FLAGS: it was changed since it was last written to the state backend; its changes come
from more than one partition."""
HOME_SHIFT, HOME_MASK = 2, 0xFFFFF
"""The next bits: the partition that its first change came from, plus one; 0 where that is not known."""
AT_HOME = HOME_MASK << HOME_SHIFT | STRAYED
"""The bits that a key takes along when it leaves memory."""

SMALLEST_PAGE = 4
LARGEST_CLASS = 4
"""Pages hold 4, 8, 16, 32 or 64 segments: the more, the longer the list is; then a full page splits."""
LARGEST_CHILD_CLASS = 2
"""Of children at most 16: what holds at an instant is looked for by the latest end of each page."""

# Counters: the first free slot of each pool, then free lists by size class.
NEXT_SEGMENT, NEXT_PAGE = 0, 1
FREE_SEGMENTS = 2
FREE_PAGES = FREE_SEGMENTS + LARGEST_CLASS + 1
COUNTERS = FREE_PAGES + 40

FREE_SIZES = 64
"""Values of fewer words are given back, for others of that size."""
LENGTH_BITS = 28
"""A value's reference is its place in the arena in units of 8 bytes, shifted left, plus its length."""


class Lists(NamedTuple):
    """The lists of all keys at one level (parents, or children).

    Attributes:
        segments: int64[slots, SEGMENT_FIELDS].
        pages: int64[rows, PAGE_FIELDS].
        counters: int64[COUNTERS].
    """

    segments: Ints
    pages: Ints
    counters: Ints


class Store(NamedTuple):
    """All open segments of a dataset.

    Attributes:
        keys: int64[keys, KEY_FIELDS].
        parents, children: the segments of the two levels.
        arena: bytes of values; a child's are its table (2 bytes), its key's length (4), its key, its values.
        used: int64[1], bytes of the arena in use.
        free: int64[FREE_SIZES], per size in words the last value given back: its word in the arena plus one,
            where the one given back before follows; 0: none.
    """

    keys: Ints
    parents: Lists
    children: Lists
    arena: Bytes
    used: Ints
    free: Ints


_NORESERVE = 0x4000 if sys.platform == "linux" else 0
"""MAP_NORESERVE, which Python 3.11 does not name: without it the room counts as used when a process forks."""


def reserve(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
    """An array of zeros whose memory is committed by the OS page by page, when first written."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        room.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(room, dtype=dtype).reshape(shape)


def physical_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def new_store(memory: int | None = None) -> Store:
    """An empty store with room for `memory` bytes of each kind (default: the machine's memory)."""
    room = memory or physical_memory()
    slots = room // (8 * SEGMENT_FIELDS)

    def lists() -> Lists:
        segments = reserve((slots, SEGMENT_FIELDS), np.int64)
        pages = reserve((slots // 2, PAGE_FIELDS), np.int64)
        counters = np.full(COUNTERS, -1, np.int64)
        counters[[NEXT_SEGMENT, NEXT_PAGE]] = 0
        return Lists(segments, pages, counters)  # type: ignore[arg-type]

    keys = reserve((room // (8 * KEY_FIELDS), KEY_FIELDS), np.int64)
    arena = reserve((room,), np.uint8)
    used, free = np.zeros(1, np.int64), np.zeros(FREE_SIZES, np.int64)
    return Store(keys, lists(), lists(), arena, used, free)  # type: ignore[arg-type]


@spliced
def borrow_lists(lists: Lists) -> Lists:
    """The same lists, without owning them."""
    return Lists(borrow(lists.segments), borrow(lists.pages), borrow(lists.counters))


@spliced
def borrow_store(store: Store) -> Store:
    """The same store, without owning it."""
    return Store(
        borrow(store.keys),
        borrow_lists(store.parents),
        borrow_lists(store.children),
        borrow(store.arena),
        borrow(store.used),
        borrow(store.free),
    )
