"""What fits a type: the decoder that `load` uses is asked, so that there is one set of rules."""

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np

from pipeline.decode import NEVER_AHEAD, Batch, DecodeOptions, Decoder
from pipeline.decode.layout import Code
from pipeline.schema import Column, ColumnType, DatasetSchema, TableSchema

_BEYOND = "1e999999999999"
"""A number that no type takes."""
_KEY = Column("k", ("k",), ColumnType.parse("string"))


def spelled(value: Any) -> str:
    """A value of a sample as JSON."""
    if isinstance(value, dict):
        return f"{{{','.join(f'{json.dumps(name)}:{spelled(member)}' for name, member in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(spelled, value))}]"
    if isinstance(value, Decimal):
        return str(value) if value.is_finite() else _BEYOND
    return json.dumps(value)


def decoded_lines(decoder: Decoder, lines: Sequence[bytes], latest: int = NEVER_AHEAD) -> Batch:
    """The lines, decoded; see `Decoder.decode` for ``latest``."""
    sizes = np.array([len(line) + 1 for line in lines], np.int64)
    ends = np.cumsum(sizes) - 1
    return decoder.decode(
        np.frombuffer(b"\n".join(lines) + b"\n", np.uint8), ends - sizes + 1, ends, latest=latest
    )


def refused_by(type_: str, texts: Iterable[str]) -> dict[int, Code]:
    """Which of the values, as JSON, a column of a type refuses, by position, and why."""
    lines = (f'{{"v":"2024-01-01","k":"","c":{text}}}' for text in texts)
    return _refused(_column_decoder(type_), lines)


def no_times(values: Sequence[Any], unit: str = "") -> dict[int, Code]:
    """Which of the values are no start of a valid range, by position, and why."""
    texts = (f'{{"v":{spelled(value)},"k":""}}' for value in values)
    return _refused(_time_decoder(unit), texts)


def _refused(decoder: Decoder, texts: Iterable[str]) -> dict[int, Code]:
    status = decoded_lines(decoder, [text.encode() for text in texts]).status
    return {int(at): Code(int(status[at])) for at in np.flatnonzero(status)}


@lru_cache(64)
def _column_decoder(type_: str) -> Decoder:
    return _decoder((Column("c", ("c",), ColumnType.parse(type_)),), "")


@lru_cache(8)
def _time_decoder(unit: str) -> Decoder:
    return _decoder((), unit)


def _decoder(values: tuple[Column, ...], unit: Any) -> Decoder:
    table = TableSchema("t", "t.t", (), (), (_KEY,), values)
    options = DecodeOptions(("v",), valid_unit=unit or None, on_new_field="dead_letter")
    return Decoder(DatasetSchema("t", (table,)), options)
