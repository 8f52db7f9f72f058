"""Finding a table in the catalog: in SQLite by itself, in every other by pyiceberg."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.places import is_local, local_path, sqlite_file
from pipeline.query.stored import StoredTable
from pipeline.sink.moved import Home

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

_OWN_CLASSES = ("py-catalog-impl", "py-io-impl")
_IO = "pipeline.sink.durable.DurableFileIO"


class Tables:
    """Finds the tables of a lake.

    Args:
        config: the ``catalog`` section of lake.yaml.
        catalog: the same opened by pyiceberg, which takes a second to import.
    """

    def __init__(self, config: Mapping[str, Any], catalog: Callable[[], "Catalog"]) -> None:
        self._name = str(config.get("name") or "lake")
        self._database = _sqlite_file(config)
        self._catalog, self._home = catalog, Home(config)

    def find(self, identifier: str) -> StoredTable | None:
        """A table as it is now; None when there is none."""
        if self._database is not None:
            try:
                return self._find_in_sqlite(self._database, identifier)
            except (sqlite3.Error, OSError, ValueError, LookupError):
                pass  # pyiceberg tells what is wrong, or knows what this module does not
        return self._find_by_pyiceberg(identifier)

    def _find_in_sqlite(self, database: Path, identifier: str) -> StoredTable | None:
        namespace, _, name = identifier.rpartition(".")
        if not database.exists():
            return None
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            found = connection.execute(
                "SELECT * FROM iceberg_tables"
                " WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?",
                (self._name, namespace, name),
            ).fetchone()
        if found is None:
            return None
        location = found["metadata_location"]
        self._home.check(identifier, location)
        if not _is_plain(location) or dict(found).get("iceberg_type") not in (None, "TABLE"):
            return self._find_by_pyiceberg(identifier)
        metadata = json.loads(Path(local_path(location)).read_bytes())
        self._home.check(identifier, metadata["location"])
        return StoredTable(tuple(identifier.split(".")), metadata, lambda: _by_pyiceberg(location))

    def _find_by_pyiceberg(self, identifier: str) -> StoredTable | None:
        from pyiceberg.exceptions import NoSuchTableError

        try:
            return StoredTable.of(self._catalog().load_table(identifier))
        except NoSuchTableError:
            return None


def _by_pyiceberg(location: str) -> "Table":
    from pyiceberg.table import StaticTable

    return StaticTable.from_metadata(location, {"py-io-impl": _IO})


def _is_plain(location: str | None) -> bool:
    return location is not None and is_local(location) and not location.endswith(".gz.metadata.json")


def _sqlite_file(config: Mapping[str, Any]) -> Path | None:
    """The database of a catalog in SQLite; None for every other catalog."""
    uri = str(config.get("uri") or "")
    if config.get("type") not in (None, "sql") or any(config.get(name) for name in _OWN_CLASSES):
        return None
    path = None if "?" in uri else sqlite_file(uri)
    return path if path is not None and path.is_absolute() else None
