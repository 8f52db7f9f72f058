"""The arrays that go into the kernel together, and those that come out."""

from typing import Any, NamedTuple


class Plan(NamedTuple):
    """A dataset's paths and columns as arrays (see `layout`)."""

    entries: Any
    words: Any
    lookup: Any
    follow: Any
    actions: Any
    nodes: Any
    below: Any
    tables: Any
    columns: Any


class Scratch(NamedTuple):
    """Memory of one record at a time."""

    slots: Any
    arena: Any
    frames: Any
    seen: Any
    stack: Any
    own_keys: Any
    whole_keys: Any
    places: Any
    marks: Any


class Output(NamedTuple):
    """What a block becomes; per record, per child row, and their bytes."""

    status: Any
    error_column: Any
    error_at: Any
    operation: Any
    tombstone: Any
    valid_from: Any
    valid_to: Any
    timestamp: Any
    given: Any
    key_start: Any
    key_hash: Any
    value_start: Any
    child_first: Any
    keys: Any
    values: Any
    rows: Any
    row_hash: Any
    row_keys: Any
    row_values: Any
