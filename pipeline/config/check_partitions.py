"""Whether a dataset's tables can be partitioned as declared."""

from pipeline.config.document import Document, Steps
from pipeline.config.mistakes import did_you_mean, one_of
from pipeline.config.models import DatasetConfig, Mode
from pipeline.config.partitions import PartitionField
from pipeline.schema import SYSTEM_COLUMNS, VALID_COLUMNS, ColumnType, DatasetSchema, Kind


def check_partitions(dataset: DatasetConfig, schema: DatasetSchema, base: Steps, document: Document) -> None:
    """Add what is wrong with `partition_by` to the document's mistakes."""
    valid = ColumnType(Kind.DATE if schema.parent.dated else Kind.TIMESTAMP)
    types = {column.name: column.type for column in schema.parent.columns}
    types |= dict.fromkeys(VALID_COLUMNS, valid) | dict.fromkeys(SYSTEM_COLUMNS, ColumnType(Kind.TIMESTAMP))
    stable = [*(column.name for column in schema.parent.key), "valid_from", "system_from"]
    seen: dict[tuple[str, str], PartitionField] = {}
    for index, field in enumerate(dataset.partition_by):
        problem = _problem(field, types, stable if dataset.mode is Mode.UPSERT else None)
        earlier = seen.setdefault((field.column, "time" if field.is_time else field.transform), field)
        if earlier is not field:
            problem = f"'{field}' repeats a field above", "remove it"
            if earlier.transform != field.transform:
                fix = f"keep {earlier} or {field}: the finer one serves both"
                problem = (
                    f"'{field}' and '{earlier}' cut one column by time, which Iceberg does not allow",
                    fix,
                )
        if problem:
            document.report((*base, "partition_by", index), *problem)


def _problem(
    field: PartitionField, types: dict[str, ColumnType], stable: list[str] | None
) -> tuple[str, str] | None:
    column_type = types.get(field.column)
    if column_type is None:
        fix = f"declare it under columns; {did_you_mean(field.column, list(types))}"
        return f"there is no column '{field.column}'", fix
    if not field.fits(column_type):
        fix = f"partition by {field.column} itself, or another column"
        return f"{field.transform} can't be used on {column_type}", fix
    if stable is not None and field.column not in stable:
        return (
            f"upsert mode replaces rows, so '{field.column}' may not partition them",
            f"use {one_of(stable)}",
        )
    return None
