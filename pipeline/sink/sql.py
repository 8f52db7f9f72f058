"""The SQL catalog, whose commits don't take longer with every snapshot that a table has."""

import hashlib
import re
import time
from typing import Any

from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.table import CommitTableResponse, StagedTable, Table
from pyiceberg.table.locations import load_location_provider
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import (
    TableRequirement,
    TableUpdate,
    _apply_table_update,
    _TableMetadataUpdateContext,
    _update_table_metadata_log,
)

from pipeline.sink.moved import Home

_PLAIN, _NOT_PLAIN, _MOST_BYTES = re.compile(r"\w[\w. -]*[\w-]|\w"), re.compile(r"[^\w-]"), 200


class QuickSqlCatalog(SqlCatalog):
    """pyiceberg's, which at each commit reads and parses the table's metadata anew and copies it twice.

    Metadata, once made, are never changed, and no two metadata files have one name: so what a table's last
    commit made is kept, and the next shares with it what they have in common.
    """

    def __init__(self, name: str, **properties: str) -> None:
        self._last: dict[tuple[str, ...], tuple[str, TableMetadata]] = {}
        self._home = Home(properties)
        super().__init__(name, **properties)

    def _convert_orm_to_iceberg(self, orm_table: IcebergTables) -> Table:
        identifier, location = _named(orm_table), orm_table.metadata_location
        self._home.check(".".join(identifier), location)
        known = self._last.get(identifier)
        if known is None or known[0] != location:
            table = super()._convert_orm_to_iceberg(orm_table)
            self._home.check(".".join(identifier), table.metadata.location)
            self._last[identifier] = (table.metadata_location, table.metadata)
            return table
        return Table(identifier, known[1], location, self._load_file_io(known[1].properties, location), self)

    def _get_default_warehouse_location(self, database_name: str, table_name: str) -> str:
        """See `MetastoreCatalog`; names that could be taken for parts of a path or a URL are no folders."""
        location: str = super()._get_default_warehouse_location(database_name, table_name)
        above = location.removesuffix(f"/{table_name}")
        if above.endswith(f"/{database_name}"):
            above = f"{above.removesuffix(database_name)}{_folder(database_name)}"
        return f"{above}/{_folder(table_name)}"

    def _update_and_stage_table(
        self,
        current_table: Table | None,
        table_identifier: Any,
        requirements: tuple[TableRequirement, ...],
        updates: tuple[TableUpdate, ...],
    ) -> StagedTable:
        if current_table is None:
            return super()._update_and_stage_table(None, table_identifier, requirements, updates)
        base = current_table.metadata
        for requirement in requirements:
            requirement.validate(base)
        updated = _updated(base, updates, current_table.metadata_location)
        version = self._parse_metadata_version(current_table.metadata_location) + 1
        places = load_location_provider(updated.location, updated.properties)
        location = places.new_table_metadata_file_location(version)
        io = self._load_file_io(updated.properties, location)
        return StagedTable(table_identifier, updated, location, io, self)

    def commit_table(self, table: Table, *args: Any) -> CommitTableResponse:
        """See `SqlCatalog`."""
        done = super().commit_table(table, *args)
        self._last[table.name()] = (done.metadata_location, done.metadata)
        return done


def _updated(base: TableMetadata, updates: tuple[TableUpdate, ...], location: str) -> TableMetadata:
    """As `pyiceberg.table.update.update_table_metadata`, but for its copy of all there is at the end."""
    context, updated = _TableMetadataUpdateContext(), base
    for update in updates:
        updated = _apply_table_update(update, updated, context)
    if context.has_changes():
        updated = _update_table_metadata_log(updated, location, base.last_updated_ms)
        if base.last_updated_ms == updated.last_updated_ms:
            updated = updated.model_copy(update={"last_updated_ms": time.time_ns() // 1_000_000})
    updated.spec().check_compatible(updated.schema())
    updated.sort_order().check_compatible(updated.schema())
    return updated


def _folder(name: str) -> str:
    """A folder for what has a name: the name where it is plain, else what is plain of it, and a hash."""
    if _PLAIN.fullmatch(name) and len(name.encode()) <= _MOST_BYTES:
        return name
    return f"{_NOT_PLAIN.sub('_', name)[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _named(row: IcebergTables) -> tuple[str, ...]:
    return (*str(row.table_namespace).split("."), str(row.table_name))
