"""How bitlake's tables look in Iceberg, for readers too: this module imports none of Iceberg's library."""

from pipeline.errors import BitlakeError
from pipeline.schema import ColumnType, Kind

DATASET, TABLE, MODE, KEY, JSON = (
    "bitlake.dataset",
    "bitlake.table",
    "bitlake.mode",
    "bitlake.key",
    "bitlake.json",
)
"""Table properties; `JSON` lists the columns that hold JSON text, which Iceberg can't tell from strings."""
FLINK_JOB = "bitlake.flink-job"
"""Property of a dataset's first table: the Flink job that writes it, and what its successors need."""

_SPELT = {
    "string": Kind.STRING,
    "boolean": Kind.BOOLEAN,
    "int": Kind.INT,
    "long": Kind.LONG,
    "float": Kind.FLOAT,
    "double": Kind.DOUBLE,
    "date": Kind.DATE,
    "timestamptz": Kind.TIMESTAMP,
    "uuid": Kind.UUID,
    "binary": Kind.BINARY,
}


def column_type(spelt: object, *, json_text: bool = False) -> ColumnType:
    """The column type that an Iceberg type stands for.

    Args:
        spelt: the type as Iceberg's metadata spells it: ``long``, ``decimal(12, 6)``.
        json_text: it is a string that holds JSON.
    """
    if isinstance(spelt, str) and spelt.startswith("decimal("):
        return ColumnType.parse(spelt)
    if not isinstance(spelt, str) or spelt not in _SPELT:
        raise BitlakeError(
            f"bitlake has no column type for Iceberg's {spelt}",
            next_step="a column of that type was added by another program: give the dataset another table",
        )
    return ColumnType(Kind.JSON if json_text else _SPELT[spelt])
