"""Conditions on columns, and the data files that can't hold a row of them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal
from typing import Any, Literal
from uuid import UUID

import pyarrow as pa

from pipeline.query.instants import day, instant
from pipeline.query.shape import Field
from pipeline.schema import Kind

_BUCKET = re.compile(r"bucket\[(\d+)\]")
_WHOLE = (Kind.INT, Kind.LONG, Kind.DATE, Kind.TIMESTAMP)
_BYTES = (Kind.STRING, Kind.JSON, Kind.UUID, Kind.BINARY)
_WIDE = Context(prec=76)


@dataclass(frozen=True)
class Condition:
    """A column's value is equal to another, at most it, or greater; times are microseconds or days."""

    column: str
    operator: Literal["=", "<=", ">"]
    value: Any


class Pruner:
    """Tells by a data file's partition and bounds whether it may hold a row that all conditions hold for.

    Of partitions only buckets are looked at: what the others tell is in the bounds.

    Args:
        conditions: the conditions.
        fields: the table's columns.
        specs: the partition specs of its metadata.
    """

    def __init__(
        self, conditions: Iterable[Condition], fields: Sequence[Field], specs: Iterable[Mapping[str, Any]]
    ) -> None:
        by_name = {field.name: field for field in fields}
        self._conditions = [
            (by_name[c.column], c.operator, value)
            for c in conditions
            if (value := _comparable(by_name[c.column], c.value)) is not None
        ]
        self._buckets = {spec["spec-id"]: self._wanted_buckets(spec["fields"]) for spec in specs}

    def may_hold(self, file: Any, spec: int) -> bool:
        """Whether a file (of `pyiceberg_core.manifest`) of a partition spec may hold such a row."""
        for position, bucket in self._buckets.get(spec, ()):
            if (given := file.partition[position]) is not None and given.value() != bucket:
                return False
        if not self._conditions:
            return True
        lower, upper = file.lower_bounds, file.upper_bounds
        return all(
            _within(_bound(field, lower), _bound(field, upper), operator, value)
            for field, operator, value in self._conditions
        )

    def _wanted_buckets(self, parts: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
        equal = {field.id: (field, value) for field, operator, value in self._conditions if operator == "="}
        found = []
        for position, part in enumerate(parts):
            match = _BUCKET.fullmatch(part["transform"])
            if match is not None and part.get("source-id") in equal:
                field, value = equal[part["source-id"]]
                if (bucket := _bucket(field, value, int(match[1]))) is not None:
                    found.append((position, bucket))
        return found


def _within(lower: Any, upper: Any, operator: str, value: Any) -> bool:
    """Whether a value between two bounds can be as wanted; an unknown bound is None."""
    if operator != ">" and lower is not None and lower > value:
        return False
    if operator == "<=" or upper is None:
        return True
    return bool(upper >= value if operator == "=" else upper > value)


def _comparable(field: Field, value: Any) -> Any:
    """A value of a column as something whose order is that of the column; None where none is known."""
    match value:
        case bool() | float():
            return None
        case Decimal():
            return int(value.scaleb(field.type.scale, context=_WIDE))
        case date():  # a datetime is one too
            return day(value) if field.type.kind is Kind.DATE else instant(value)
        case str():
            return value.encode("utf-8", "surrogatepass")
        case UUID():
            return value.bytes
        case _:
            return value


def _bound(field: Field, bounds: Mapping[int, bytes]) -> Any:
    """A bound of Iceberg's metadata as `_comparable`; of a number widened since, it is shorter."""
    raw = bounds.get(field.id)
    if raw is None:
        return None
    kind = field.type.kind
    if kind in _WHOLE:
        return int.from_bytes(raw, "little", signed=True)
    if kind is Kind.DECIMAL:
        return int.from_bytes(raw, "big", signed=True)
    return bytes(raw) if kind in _BYTES else None


def _bucket(field: Field, value: Any, count: int) -> int | None:
    """The bucket that rows of a value are in; None for a value that has no place in the column."""
    from pyiceberg_core.transform import bucket

    kind = field.type.kind
    try:
        if kind in _BYTES:
            array = pa.array([value], pa.binary(16) if kind is Kind.UUID else pa.binary())
            array = array if kind in (Kind.UUID, Kind.BINARY) else array.cast(pa.string())
        elif kind is Kind.DECIMAL:
            array = pa.array([Decimal(value).scaleb(-field.type.scale, context=_WIDE)], field.arrow)
        elif kind in _WHOLE:
            array = pa.array([value], pa.int32() if kind in (Kind.INT, Kind.DATE) else pa.int64())
            array = array.cast(field.arrow)
        else:
            return None
    except (pa.ArrowInvalid, OverflowError):
        return None
    found: int = bucket(array, count).to_pylist()[0]
    return found
