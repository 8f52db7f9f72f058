"""Key filters: which keys a question is about."""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from pipeline.errors import BadInput
from pipeline.query.conditions import Condition
from pipeline.query.instants import day, instant
from pipeline.query.shape import Field, Shape, quoted
from pipeline.schema import Kind

_DAY_ZERO = date(1970, 1, 1)
_ZERO = datetime(1970, 1, 1, tzinfo=UTC)
_BOOLEANS = {"true": True, "false": False}
_WIDE = Context(prec=76)


@dataclass(frozen=True)
class KeyFilter:
    """Conditions on key columns, as SQL with parameters and for planning."""

    values: tuple[tuple[Field, Any], ...] = ()

    @staticmethod
    def of(shape: Shape, wanted: Mapping[str, Any] | None) -> "KeyFilter":
        """Read a filter; text is read as the column's type.

        Raises:
            BadInput: a column is not a key column, or a value does not fit it.
        """
        fields = {field.name: field for field in shape.key}
        read = []
        for given, value in (wanted or {}).items():
            name = given if given in fields else given.replace(".", "__")  # as `key` in lake.yaml spells it
            if name not in fields:
                raise BadInput(
                    f"'{given}' is not a key column",
                    next_step=f"the key is: {', '.join(fields)}; for other columns ask with `bitlake sql`",
                )
            read.append((fields[name], _typed(fields[name], value)))
        return KeyFilter(tuple(read))

    @property
    def sql(self) -> str:
        """Conditions for a WHERE clause, with a parameter each."""
        conditions = [
            f"{quoted(f.name)} = TRY_CAST($k{i} AS {f.duckdb})" for i, (f, _) in enumerate(self.values)
        ]
        return " AND ".join(conditions) or "TRUE"

    @property
    def parameters(self) -> dict[str, Any]:
        """The values of the parameters."""
        return {f"k{i}": str(v) if isinstance(v, UUID) else v for i, (_, v) in enumerate(self.values)}

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The same conditions for planning."""
        return tuple(Condition(field.name, "=", value) for field, value in self.values)


def _boolean(text: str) -> bool:
    return _BOOLEANS[text.lower()]


def _binary(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _date(text: str) -> date:
    return _DAY_ZERO + timedelta(days=day(text))


def _timestamp(text: str) -> datetime:
    return _ZERO + timedelta(microseconds=instant(text))


_READ: dict[Kind, Callable[[str], Any]] = {
    Kind.STRING: str,
    Kind.JSON: str,
    Kind.BOOLEAN: _boolean,
    Kind.INT: int,
    Kind.LONG: int,
    Kind.FLOAT: float,
    Kind.DOUBLE: float,
    Kind.DECIMAL: Decimal,
    Kind.DATE: _date,
    Kind.TIMESTAMP: _timestamp,
    Kind.UUID: UUID,
    Kind.BINARY: _binary,
}


_GIVEN: dict[Kind, type | tuple[type, ...]] = {
    Kind.BOOLEAN: bool,
    Kind.INT: int,
    Kind.LONG: int,
    Kind.FLOAT: (int, float),
    Kind.DOUBLE: (int, float),
    Kind.DECIMAL: Decimal,
    Kind.DATE: date,
    Kind.TIMESTAMP: date,
    Kind.UUID: UUID,
    Kind.BINARY: bytes,
}


def _typed(field: Field, value: Any) -> Any:
    kind = field.type.kind
    if kind in (Kind.STRING, Kind.JSON) and value is not None:
        return str(value)
    if kind is Kind.DECIMAL and type(value) in (int, float):
        value = str(value)
    try:
        if isinstance(value, str):
            value = _READ[kind](value)
        elif isinstance(value, bool) is not (kind is Kind.BOOLEAN) or not isinstance(value, _GIVEN[kind]):
            raise ValueError(value)
        return _exact(value, field) if isinstance(value, Decimal) else value
    except (ValueError, KeyError, InvalidOperation, binascii.Error) as error:
        raise BadInput(
            f"'{value}' is not a value of the key column '{field.name}'",
            next_step=f"the column is of type {field.type}",
        ) from error


def _exact(value: Decimal, field: Field) -> Decimal:
    """The value with the column's scale; one that the column can't hold is not a value of it."""
    scaled = value.quantize(Decimal(1).scaleb(-field.type.scale), context=_WIDE)
    if scaled != value:
        raise ValueError(value)
    return scaled
