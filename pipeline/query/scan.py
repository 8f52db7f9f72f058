"""From an Iceberg table to a relation that DuckDB can read: the data files that conditions leave.

DuckDB gets the table's schema by field ids. So a column that a file lacks is null there, and a type that was
widened since is widened in reading.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyiceberg_core.manifest import read_manifest_entries, read_manifest_list

from pipeline.errors import is_panic
from pipeline.places import is_local, local_path
from pipeline.query.conditions import Condition, Pruner
from pipeline.query.session import PREFIX, Session
from pipeline.query.shape import Field, quoted, text_literal
from pipeline.query.stored import StoredTable
from pipeline.query.trouble import explained

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import FileScanTask

log = logging.getLogger(__name__)
_GLOB = str.maketrans({"*": "[*]", "?": "[?]", "[": "[[]"})
_DATA, _GONE = 0, 2
"""Iceberg's numbers for a manifest of data files, and for a file that its snapshot removed."""
_registered = 0
_TIMES = ("year", "month", "day", "hour")
MOST_KNOWN = 5_000
"""Data files whose manifests are remembered: 6 KB each, with the bounds of seventeen columns."""


@dataclass(frozen=True)
class Planned:
    """The data files of one snapshot that conditions leave.

    Attributes:
        table: the table.
        fields: the columns to read.
        files: locations of files whose every row counts.
        deleted: files that another program deleted rows from.
    """

    table: StoredTable
    fields: tuple[Field, ...]
    files: tuple[str, ...] = ()
    deleted: tuple["FileScanTask", ...] = ()

    def relation(self, session: Session) -> str:
        """The rows as an SQL relation, whole columns, in the order of the fields."""
        parts = [_read_parquet(self.files, self.fields, self.table, session)] if self.files else []
        if self.deleted:
            parts.append(self._with_deletes(session))
        return " UNION ALL ".join(parts) or _nothing(self.fields)

    def _with_deletes(self, session: Session) -> str:
        """Pyiceberg reads them."""
        from pyiceberg.expressions import AlwaysTrue
        from pyiceberg.io.pyarrow import ArrowScan

        global _registered
        _registered += 1
        name, table = f"_deleted_{_registered}", self.table.iceberg()
        scan = ArrowScan(table.metadata, table.io, table.schema(), AlwaysTrue())
        session.register(name, scan.to_table(self.deleted))
        return f"SELECT {_casts(self.fields)} FROM {quoted(name)}"


def plan(table: StoredTable, fields: tuple[Field, ...], conditions: Sequence[Condition] = ()) -> Planned:
    """The files of the table's current snapshot that may hold rows of the conditions.

    None of them may be on system_to: see "closed wins" in the design.
    """
    with explained(table.location):
        if table.snapshot is None:
            return Planned(table, fields)
        pruner = Pruner(conditions, fields, table.metadata["partition-specs"])
        if not _is_readable(table):
            return _plan_by_library(table, fields, pruner)
        try:
            return _plan(table, fields, pruner)
        except _Unreadable as error:
            log.warning("%s: reading its manifests by pyiceberg: %s", ".".join(table.identifier), error)
            return _plan_by_library(table, fields, pruner)


class _Unreadable(Exception):
    """Manifests that the fast reader does not take."""


def _is_readable(table: StoredTable) -> bool:
    """Whether the fast reader (pyiceberg-core 0.10) takes the table's manifests, which it would panic at.

    It takes ASCII names of partitions only, no UUIDs for their values, and no column cut by time twice.
    """
    types = {field["id"]: field["type"] for field in table.fields}
    for spec in table.metadata["partition-specs"]:
        times = [part.get("source-id") for part in spec["fields"] if part["transform"] in _TIMES]
        if len(times) > len(set(times)):
            return False
        for part in spec["fields"]:
            is_uuid = types.get(part.get("source-id")) == "uuid" and part["transform"] == "identity"
            if is_uuid or not part["name"].isascii():
                return False
    return True


def _fast(call: Callable[..., Any], *given: Any) -> Any:
    """Call the fast reader.

    Raises:
        _Unreadable: it fails, or panics.
    """
    try:
        return call(*given)
    except BaseException as error:
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        raise _Unreadable(str(error).partition("\n")[0]) from error


def _plan(table: StoredTable, fields: tuple[Field, ...], pruner: Pruner) -> Planned:
    snapshot = table.snapshot
    assert snapshot is not None
    contents = table.read(snapshot.manifest_list)
    manifests = _fast(lambda: read_manifest_list(contents).entries())
    if any(manifest.content != _DATA for manifest in manifests):
        return _plan_by_library(table, fields, pruner)
    entries = list(_entries(table, manifests))
    return _fast(lambda: Planned(table, fields, tuple(_live(entries, pruner))))


def _live(manifests: Sequence[tuple[Any, Any]], pruner: Pruner) -> Iterator[str]:
    for manifest, entries in manifests:
        for entry in entries:
            if entry.status != _GONE and pruner.may_hold(entry.data_file, manifest.partition_spec_id):
                yield entry.data_file.file_path


def _entries(table: StoredTable, manifests: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    known = {manifest.manifest_path: _known.get(manifest.manifest_path) for manifest in manifests}
    new = [location for location, entries in known.items() if entries is None]
    if all(is_local(location) for location in new):
        read = list(map(table.read, new))
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor() as pool:
            read = list(pool.map(table.read, new))
    for location, contents in zip(new, read, strict=True):
        entries = _fast(lambda bytes_: read_manifest_entries(bytes_).entries(), contents)
        known[location] = _known.put(location, entries)
    for manifest in manifests:
        yield manifest, known[manifest.manifest_path]


class _Known:
    """Entries of the manifests that were asked for last: none ever changes, and to read one takes 2 ms."""

    def __init__(self, most: int) -> None:
        self._most, self._count, self._lock = most, 0, threading.Lock()
        self._entries: OrderedDict[str, Any] = OrderedDict()

    def get(self, location: str) -> Any | None:
        with self._lock:
            if location in self._entries:
                self._entries.move_to_end(location)
            return self._entries.get(location)

    def put(self, location: str, entries: Any) -> Any:
        with self._lock:
            self._count += len(entries) - len(self._entries.pop(location, ()))
            self._entries[location] = entries
            while self._count > self._most:
                self._count -= len(self._entries.popitem(last=False)[1])
        return entries


_known = _Known(MOST_KNOWN)


@dataclass(frozen=True)
class _Value:
    """A partition's value, as `pyiceberg_core.manifest` has it."""

    of: Any

    def value(self) -> Any:
        return self.of


@dataclass(frozen=True)
class _File:
    """What `Pruner` looks at, of a data file as pyiceberg has it."""

    partition: Sequence[_Value | None]
    lower_bounds: Mapping[int, bytes]
    upper_bounds: Mapping[int, bytes]

    @staticmethod
    def of(file: "DataFile") -> "_File":
        values = [file.partition[position] for position in range(len(file.partition))]
        partition = [None if value is None else _Value(value) for value in values]
        return _File(partition, file.lower_bounds or {}, file.upper_bounds or {})


def _plan_by_library(table: StoredTable, fields: tuple[Field, ...], pruner: Pruner) -> Planned:
    """Pyiceberg reads every manifest, and knows of deleted rows."""
    from pipeline.sink.planning import data_files

    tasks = [
        task
        for task in data_files(table.iceberg())
        if pruner.may_hold(_File.of(task.file), task.file.spec_id)
    ]
    return Planned(
        table,
        fields,
        tuple(task.file.file_path for task in tasks if not task.delete_files),
        tuple(task for task in tasks if task.delete_files),
    )


def _read_parquet(
    locations: Sequence[str], fields: tuple[Field, ...], table: StoredTable, session: Session
) -> str:
    if not all(is_local(location) for location in locations):
        session.reach(table.iceberg().io)
    files = ", ".join(text_literal(_duckdb_path(location)) for location in locations)
    schema = ", ".join(
        f"{f.id}: {{name: {text_literal(f.name)}, type: '{f.duckdb}', default_value: NULL}}" for f in fields
    )
    names = ", ".join(quoted(field.name) for field in fields)
    return (
        f"SELECT {names} FROM read_parquet([{files}], schema = MAP {{{schema}}}, hive_partitioning = false)"
    )


def _duckdb_path(location: str) -> str:
    return local_path(location).translate(_GLOB) if is_local(location) else PREFIX + location


def _casts(fields: tuple[Field, ...]) -> str:
    return ", ".join(f"CAST({quoted(f.name)} AS {f.duckdb}) AS {quoted(f.name)}" for f in fields)


def _nothing(fields: tuple[Field, ...]) -> str:
    nulls = ", ".join(f"CAST(NULL AS {f.duckdb}) AS {quoted(f.name)}" for f in fields)
    return f"SELECT {nulls} WHERE FALSE"
