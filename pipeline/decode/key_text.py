"""Keys as text, for the reasons of dead letters: read from their canonical bytes."""

import base64
import struct
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from pipeline.decode.place import LONGEST
from pipeline.schema import Column, ColumnType, Kind

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def key_text(data: bytes, columns: Sequence[Column]) -> str:
    """A key's columns and values, as in ``leg = A, paid = 2024-01-31``; long values are cut."""
    values = _values(data, columns)
    return ", ".join(f"{column.name} = {value}" for column, value in zip(columns, values, strict=True))


def _values(data: bytes, columns: Sequence[Column]) -> Iterator[str]:
    at = 0
    for column in columns:
        size = column.type.width
        if not size:
            size = struct.unpack_from("<I", data, at)[0]
            at += 4
        yield _text(data[at : at + size], column.type)
        at += size


def _text(data: bytes, type_: ColumnType) -> str:
    match type_.kind:
        case Kind.BINARY:
            return base64.b64encode(data[:LONGEST]).decode()
        case Kind.UUID:
            return str(uuid.UUID(bytes=data))
        case Kind.FLOAT | Kind.DOUBLE:
            return repr(struct.unpack("<d", data)[0])
    if not type_.width:
        return data[:LONGEST].decode("utf-8", "ignore")
    number = int.from_bytes(data, "little", signed=True)
    match type_.kind:
        case Kind.DATE:
            return (_EPOCH + timedelta(days=number)).date().isoformat()
        case Kind.TIMESTAMP:
            return (_EPOCH + timedelta(microseconds=number)).isoformat()
        case Kind.DECIMAL:
            digits = tuple(map(int, str(abs(number))))
            return f"{Decimal((int(number < 0), digits, -type_.scale)):f}"
        case Kind.BOOLEAN:
            return "true" if number else "false"
    return str(number)
