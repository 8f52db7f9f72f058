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

import numpy as np
import pyarrow as pa
from pyiceberg.expressions import And, BooleanExpression, EqualTo
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table

from pipeline.errors import BitlakeError
from pipeline.sink.conventions import KEY
from pipeline.sink.epoch import TableRows
from pipeline.sink.file_list import TableFiles
from pipeline.sink.files import FileName, whole, write_rows
from pipeline.sink.planning import data_files
from pipeline.sink.scan import compare, may_be_among, read_task, storage

log = logging.getLogger(__name__)

NO_END = "9999-12-31T00:00:00+00:00"


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
    for task in data_files(table, _may_hold_twins(closed, columns)):
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
        live = {task.file.file_path: task.file for task in data_files(table)}
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
    left = storage(rows, columns).append_column("_row", pa.array(np.arange(len(rows))))
    found = left.join(storage(others, columns), keys=columns, join_type="left semi")
    mask = np.zeros(len(rows), dtype=bool)
    mask[found.column("_row").to_numpy()] = True
    return mask


def _may_hold_twins(closed: pa.Table, columns: list[str]) -> BooleanExpression:
    """A filter by which statistics and partitions rule out files; the keys listed only if they are few."""
    plain = storage(closed, columns)
    terms = [compare(EqualTo, "system_to", NO_END)]
    terms += [may_be_among(name, plain.column(name)) for name in columns]
    return reduce(And, terms)
