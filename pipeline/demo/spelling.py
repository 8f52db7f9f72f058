"""Values as a person reads them."""

from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa


def decimals_of(column: pa.ChunkedArray) -> int:
    """How many decimals a decimal column's values need at most: 3.180 beside 3.095 reads better than 3.18."""
    if not pa.types.is_decimal(column.type):
        return 0
    exponents = [-value.normalize().as_tuple().exponent for value in column.to_pylist() if value is not None]
    return max((0, *exponents))


def spell(value: object, decimals: int = 0) -> str:
    """A value as text, a decimal with so many decimals."""
    match value:
        case None:
            return "null"
        case Decimal():
            return f"{value:.{decimals}f}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}"
        case dict():
            return ", ".join(f"{name}={_in_full(item)}" for name, item in value.items())
        case date():
            return value.isoformat()
        case _:
            return str(value)


def _in_full(item: object) -> str:
    return f"{item.normalize():f}" if isinstance(item, Decimal) else spell(item)
