"""What the state's bytes mean: the tables and columns that they were written for, by number.

Payloads name columns by their place and children their table by its number, so that a dataset declared
otherwise (a column before those inferred, a child before another) would read them wrongly.
"""

from typing import Any

from pipeline.schema import Column, DatasetSchema, Kind

_SAME_BYTES = {Kind.INT: Kind.LONG, Kind.FLOAT: Kind.DOUBLE, Kind.JSON: Kind.STRING}
_FORMAT: list[Any] = [
    "keys in files, log by columns, short lengths, patches by segment, puts of one segment",
    [],
    [],
]
"""In the place of a table, first: another one where the bytes, or the log's changes, mean something else."""
_NO_TYPE, _RETIRED = Kind.UNKNOWN.name.lower(), "retired"


def layout_of(dataset: DatasetSchema) -> list[Any]:
    """Per table its name, its key columns and its value columns, as JSON can hold them."""
    tables = [[t.name, [_coded(c) for c in t.key], [_coded(c) for c in t.values]] for t in dataset.tables]
    return [_FORMAT, *tables]


def fits(written: list[Any] | None, dataset: DatasetSchema) -> bool:
    """Whether bytes of a layout mean the same in a dataset: it may only have more, and new, at the end."""
    current = layout_of(dataset)
    return (
        written is not None
        and len(written) <= len(current)
        and all(
            old[:2] == new[:2] and _begins(old[2], new[2]) for old, new in zip(written, current, strict=False)
        )
    )


def of_earlier_format(written: list[Any] | None) -> bool:
    """Whether bytes were written by a bitlake that wrote others, or made other rows of the same changes."""
    return not written or written[0] != _FORMAT


def _begins(old: list[list[str]], new: list[list[str]]) -> bool:
    same = all(a == b or (a[0] == b[0] and a[1] == _NO_TYPE) for a, b in zip(old, new, strict=False))
    # What is retired has values already, which these bytes lack.
    return same and len(old) <= len(new) and all(_RETIRED not in added[2:] for added in new[len(old) :])


def _coded(column: Column) -> list[str]:
    kind = _SAME_BYTES.get(column.type.kind, column.type.kind).name.lower()
    type_ = f"{kind}{column.type.width}.{column.type.scale}" if kind == "decimal" else kind
    return [column.name, type_, *([_RETIRED] if column.retired else [])]
