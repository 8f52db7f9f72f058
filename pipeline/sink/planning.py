"""The data files of a table, whoever wrote it."""

from collections.abc import Iterable
from typing import Any

from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.manifest import DataFileContent, ManifestEntry
from pyiceberg.table import FileScanTask, ManifestGroupPlanner, Table

from pipeline.sink.avro_readers import mend_readers

mend_readers()
_ALL = AlwaysTrue()


def data_files(
    table: Table, row_filter: BooleanExpression = _ALL, snapshot: int | None = None
) -> Iterable[FileScanTask]:
    """The data files that may hold rows of a filter, with the positions that others deleted from them.

    Equality deletes, which pyiceberg can't read, are left out: only Flink's sink writes them, in upsert mode,
    and they delete open rows whose closed twins are in the same commit: where closed wins, no change.

    Args:
        snapshot: the table as it was then; else as it is.
    """
    planner: Any = ManifestGroupPlanner(table.metadata, table.io, row_filter)
    found = table.snapshot_by_id(snapshot) if snapshot is not None else table.current_snapshot()
    if found is None:
        return []
    tasks: Iterable[FileScanTask] = planner.plan_files(found.manifests(table.io), _is_readable)
    return tasks


def _is_readable(entry: ManifestEntry) -> bool:
    return bool(entry.data_file.content != DataFileContent.EQUALITY_DELETES)
