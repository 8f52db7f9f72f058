"""Partition fields: ``isin``, ``bucket(8, isin)``, ``month(valid_from)``."""

import re
from dataclasses import dataclass

from pipeline.schema import ColumnType, Kind

_FIELD = re.compile(r"\s*(?:(\w+)\s*\(\s*(?:(\d+)\s*,\s*)?([^(),\s]+)\s*(?:,\s*(\d+)\s*)?\)|([^(),\s]+))\s*")
_SIZED = ("bucket", "truncate")
_END_OF_SIZES = 2**31
"""Iceberg's numbers of buckets and widths have 32 bits."""
_DATED = ("year", "month", "day")
_CUTTABLE = {Kind.INT, Kind.LONG, Kind.DECIMAL, Kind.STRING, Kind.BINARY, Kind.JSON}
_HASHABLE = _CUTTABLE | {Kind.DATE, Kind.TIMESTAMP, Kind.UUID}

PARTITION_FIX = (
    "write a column, or bucket(8, column), truncate(4, column), year(column), month(column), day(column)"
    " or hour(column)"
)


@dataclass(frozen=True)
class PartitionField:
    """One field of a table's partitioning.

    Attributes:
        transform: identity, bucket, truncate, year, month, day or hour.
        column: the column's name in the table.
        size: number of buckets, or the width to cut to; 0 for the other transforms.
    """

    transform: str
    column: str
    size: int = 0

    @staticmethod
    def parse(text: str) -> "PartitionField":
        """Read a field as lake.yaml spells it.

        Raises:
            ValueError: when it is not a column or a known transform of one.
        """
        match = _FIELD.fullmatch(text)
        if not match:
            raise ValueError(f"'{text}' is not a partition field")
        if match[5]:
            return PartitionField("identity", match[5])
        transform, column = match[1].lower(), match[3]
        size = int(match[2] or match[4] or 0)
        if transform not in (*_SIZED, "identity"):
            transform = transform.removesuffix("s")
        if transform in _SIZED:
            if not 1 <= size < _END_OF_SIZES or (match[2] and match[4]):
                raise ValueError(f"'{text}' needs one number from 1 to {_END_OF_SIZES - 1}")
        elif transform not in (*_DATED, "hour", "identity") or size:
            raise ValueError(f"'{text}' is not a partition field")
        return PartitionField(transform, column, size)

    def __str__(self) -> str:
        if self.transform == "identity":
            return self.column
        return f"{self.transform}({f'{self.size}, ' if self.size else ''}{self.column})"

    @property
    def is_time(self) -> bool:
        """Whether it cuts by time."""
        return self.transform in (*_DATED, "hour")

    def fits(self, column_type: ColumnType) -> bool:
        """Whether Iceberg allows this transform on a column of this type."""
        kind = column_type.kind
        if self.transform == "bucket":
            return kind in _HASHABLE
        if self.transform == "truncate":
            return kind in _CUTTABLE
        if self.transform == "hour":
            return kind is Kind.TIMESTAMP
        return self.transform == "identity" or kind in (Kind.DATE, Kind.TIMESTAMP)
