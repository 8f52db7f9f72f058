"""Upsert mode: each version once, the superseded open row replaced by copy-on-write.

pyiceberg writes no equality deletes, so the data files that hold superseded open rows are written again
without them. Only files whose statistics allow a twin are read, and only those that hold one rewritten.
docs/decisions/0007-upsert-copy-on-write.md tells what that costs.
"""

import json
import logging
from dataclasses import dataclass
from functools import reduce
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import And, BooleanExpression, EqualTo, GreaterThanOrEqual, In, LessThanOrEqual
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table

from pipeline.errors import BitlakeError
from pipeline.sink.conventions import KEY
from pipeline.sink.epoch import TableRows
from pipeline.sink.file_list import TableFiles
from pipeline.sink.files import FileName, whole, write_rows
from pipeline.sink.scan import read_task

log = logging.getLogger(__name__)

NO_END = "9999-12-31T00:00:00+00:00"
_MAX_LISTED_KEYS = 200
"""pyiceberg stops pruning by lists longer than this."""


@dataclass(frozen=True)
class UpsertRows:
    """An epoch's rows of one table, by what they do to the table.

    Attributes:
        open: versions that stand at the epoch's end.
        passed: versions that the epoch opened and closed again.
        closed: versions whose open rows lie in earlier epochs, and must go.
    """

    open: pa.Table
    passed: pa.Table
    closed: pa.Table

    @staticmethod
    def of(rows: TableRows) -> "UpsertRows":
        """Sort an epoch's rows."""
        columns = _version_columns([column.name for column in rows.schema.key])
        none = rows.schema.arrow.empty_table()
        opened, closed = whole([*rows.open] or [none]), whole([*rows.closed] or [none])
        passed = _matches(closed, opened, columns)
        closed_again = _matches(opened, closed, columns)
        return UpsertRows(
            open=opened.filter(pa.array(~closed_again)),
            passed=closed.filter(pa.array(passed)),
            closed=closed.filter(pa.array(~passed)),
        )


def rewrite(table: Table, closed: pa.Table, name: FileName) -> tuple[list[DataFile], list[DataFile]]:
    """Write the files that hold open twins of closed rows again, without the twins.

    Args:
        table: the table as it is before the epoch.
        closed: closed rows whose open twins are in the table.
        name: the epoch's part of the file names.

    Returns:
        The files to take out, and those to put in their place.
    """
    if not len(closed):
        return [], []
    columns = _version_columns(json.loads(table.properties[KEY]))
    schema = table.schema()
    taken: list[DataFile] = []
    put: list[DataFile] = []
    found = 0
    for task in table.scan(row_filter=_may_hold_twins(closed, columns)).plan_files():
        twins = _matches(read_task(table, task, schema.select(*columns)), closed, columns)
        if not twins.any():
            continue
        found += int(twins.sum())
        kept = read_task(table, task, schema).filter(pa.array(~twins))
        taken.append(task.file)
        put += write_rows(table, [kept], name, f"kept{len(taken)}")
    if found != len(closed):
        raise BitlakeError(
            f"{'.'.join(table.name())}: of {len(closed)} rows to close, {found} are open in the table",
            next_step="rebuild the state from the tables; if that does not help, report this as a bug",
        )
    log.info(
        "%s: %d closed rows, %d data files rewritten with %d rows",
        ".".join(table.name()),
        len(closed),
        len(taken),
        sum(file.record_count for file in put),
    )
    return taken, put


@dataclass(frozen=True)
class Change:
    """What an epoch changes in one table: as it was planned, or planned again where the table moved on."""

    part: TableFiles
    name: FileName

    def files(self, table: Table) -> tuple[list[DataFile], list[DataFile]]:
        """Files to add and to remove, for the table as it is now."""
        schema, specs = table.schema(), table.specs()
        added = [file.data_file(specs, schema) for file in self.part.added]
        if not self.part.replaced:
            return added, []
        live = {task.file.file_path: task.file for task in table.scan().plan_files()}
        if all(path in live for path in self.part.replaced):
            kept = [file.data_file(specs, schema) for file in self.part.rewritten]
            return added + kept, [live[path] for path in self.part.replaced]
        columns = schema.select(*_version_columns(json.loads(table.properties[KEY])))
        closing = [file for file in added if file.file_path in self.part.closed]
        closed = pa.concat_tables(read_task(table, FileScanTask(file), columns) for file in closing)
        taken, put = rewrite(table, closed, self.name)
        return added + put, taken


def _version_columns(key: list[str]) -> list[str]:
    return [*key, "system_from", "valid_from"]


def _matches(rows: pa.Table, others: pa.Table, columns: list[str]) -> Any:
    """For each row, whether `others` has one of the same version."""
    left = _storage(rows, columns).append_column("_row", pa.array(np.arange(len(rows))))
    found = left.join(_storage(others, columns), keys=columns, join_type="left semi")
    mask = np.zeros(len(rows), dtype=bool)
    mask[found.column("_row").to_numpy()] = True
    return mask


def _storage(rows: pa.Table, columns: list[str]) -> pa.Table:
    """These columns without extension types, which Arrow's join can't compare."""
    arrays = [rows.column(name) for name in columns]
    plain = [
        pa.chunked_array([chunk.storage for chunk in a.chunks], a.type.storage_type)
        if isinstance(a.type, pa.BaseExtensionType)
        else a
        for a in arrays
    ]
    return pa.Table.from_arrays(plain, names=columns)


def _may_hold_twins(closed: pa.Table, columns: list[str]) -> BooleanExpression:
    """A filter by which statistics and partitions rule out files; the keys listed only if they are few."""
    plain = _storage(closed, columns)
    terms = [_compare(EqualTo, "system_to", NO_END)]
    for name in columns:
        values = plain.column(name)
        is_uuid = closed.schema.field(name).type == pa.uuid()
        distinct = pc.unique(values)
        if len(distinct) <= _MAX_LISTED_KEYS:
            listed = [UUID(bytes=v.as_py()) if is_uuid else _literal(v) for v in distinct]
            terms.append(_compare(In, name, listed))
        elif not is_uuid:
            ends = pc.min_max(values)
            terms.append(_compare(GreaterThanOrEqual, name, _literal(ends["min"])))
            terms.append(_compare(LessThanOrEqual, name, _literal(ends["max"])))
    return reduce(And, terms)


def _compare(predicate: Any, name: str, value: Any) -> BooleanExpression:
    """A predicate on a column; mypy's pydantic plugin mistakes the constructors of pyiceberg's."""
    return predicate(name, value)


def _literal(value: pa.Scalar) -> Any:
    plain = value.as_py()
    return plain.isoformat() if isinstance(value, pa.TimestampScalar | pa.Date32Scalar) else plain
