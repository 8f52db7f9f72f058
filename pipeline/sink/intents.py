"""The list of an epoch's files, kept beside its tables: another writer can finish the epoch by it.

It is written where an epoch goes to several tables. While some have the epoch and others don't, their
snapshots name the list. The state's journal has it, too, but another machine does not have that state.
"""

import logging

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.table import Table

from pipeline.sink.durable import sync
from pipeline.sink.file_list import FileList
from pipeline.sink.files import FileName

log = logging.getLogger(__name__)

_LIST = "files"
"""The only column, of one row: buckets for tables take no other files than Iceberg's."""


def intent_of(table: Table, files: FileList) -> str:
    """Where the list of an epoch's files is.

    Args:
        table: the dataset's first.
        files: of the epoch.
    """
    name = FileName(files.dataset, files.position.epoch, files.write).path("intent", 0)
    return table.location_provider().new_data_location(name)


def put_intent(table: Table, files: FileList) -> None:
    """Write the list down."""
    location = intent_of(table, files)
    with table.io.new_output(location).create(overwrite=True) as stream:
        pq.write_table(pa.table({_LIST: [files.to_json()]}), stream)
    sync(location)


def read_intent(table: Table, location: str) -> FileList | None:
    """The list that a snapshot names; None if it is gone."""
    try:
        with table.io.new_input(location).open() as stream:
            return FileList.from_json(pq.read_table(stream).column(_LIST)[0].as_py())
    except FileNotFoundError as error:
        log.warning("the list of an epoch's files is gone: %s", error)
        return None


def delete_intent(table: Table, files: FileList) -> None:
    """Delete the list: every table of the dataset has the epoch."""
    try:
        table.io.delete(intent_of(table, files))
    except OSError as error:
        log.debug("the list of an epoch's files stays: %s", error)
