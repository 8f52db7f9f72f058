"""Appending files to a shared table outside of any epoch, on exactly the table that was looked at."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.update import AssertTableUUID

from pipeline.faults import reach


def append(table: Table, files: Sequence[DataFile], summary: Mapping[str, str]) -> None:
    """Append files in one snapshot if nobody has committed to the table since it was loaded.

    Pyiceberg's own transaction would retry after a conflict without asking whether the rows are still right.

    Raises:
        CommitFailedException: somebody has; the files are deleted.
        Exception: any other of `TRANSIENT`: the snapshot may be in the table, or may come.
    """
    update = Transaction(table).update_snapshot(snapshot_properties=dict(summary))
    producer = update.merge_append()
    for file in files:
        producer.append_data_file(file)
    updates, requirements = producer._commit()
    reach("before-first-commit")
    try:
        table._do_commit(updates, (*requirements, AssertTableUUID(uuid=table.metadata.table_uuid)))
    except CommitFailedException:
        producer._clean_all_uncommitted()
        for file in files:
            with suppress(OSError):  # an orphan
                table.io.delete(file.file_path)
        raise
    reach("after-last-commit")
