"""Places on this machine that lake.yaml names: which settings are paths, and which paths can't be used."""

import os
from pathlib import Path

from pipeline.config.document import Document, Steps
from pipeline.config.models import LakeConfig
from pipeline.config.secrets import Properties
from pipeline.places import FILE, SQLITE, is_local, local_path

_FILE_CATALOGS = ("sql", "in-memory", "hive", "dynamodb")
_MOST_BYTES = 3_000
"""Of a path: the system takes 4,096, with what the names of files below it need."""


def database_file(catalog: Properties) -> tuple[str, str] | None:
    """The file of a SQLite catalog as lake.yaml has it, taken as it is, and the options behind it.

    None: the catalog is no file. Only a ``sqlite:///`` address has options: they begin with its first ``?``.
    """
    uri = str(catalog.get("uri") or "")
    if uri.startswith(SQLITE):
        path, mark, options = uri.removeprefix(SQLITE).partition("?")
        return None if not path or path == ":memory:" else (path, mark + options)
    if uri and catalog.get("type") == "sql" and "://" not in uri and is_local(uri):
        return local_path(uri), ""
    return None


def warehouse_folder(catalog: Properties) -> str | None:
    """The warehouse's path, taken as it is; None: it is elsewhere, or a name that the catalog knows."""
    warehouse = str(catalog.get("warehouse") or "")
    if not warehouse or _catalog_type(catalog) not in _FILE_CATALOGS:
        return None
    if warehouse.startswith(FILE):
        return local_path(warehouse)
    return None if "://" in warehouse else warehouse


def check_places(config: LakeConfig, base: Path, document: Document) -> None:
    """Add what is wrong with paths to the document's mistakes.

    Args:
        config: what is well formed.
        base: the folder that relative paths are relative to.
        document: where the mistakes go, and where places come from.
    """
    places: dict[Steps, str] = {("state",): str(config.state)}
    if (database := database_file(config.catalog)) is not None:
        places["catalog", "uri"] = database[0]
    if (warehouse := warehouse_folder(config.catalog)) is not None:
        places["catalog", "warehouse"] = warehouse
        _check_host(str(config.catalog["warehouse"]), document)
    for steps, path in places.items():
        try:
            length = len(os.path.normpath(base / path).encode())
        except UnicodeEncodeError:
            fix = "rename the folder, or give a path elsewhere"
            document.report(steps, "the path is not UTF-8 text, which Iceberg's files are written in", fix)
            continue
        if "\0" in path:
            document.report(steps, "a path can't hold a NUL character", "give a path without one")
        elif length > _MOST_BYTES:
            fix = f"use a folder whose path has at most {_MOST_BYTES} bytes"
            document.report(steps, f"the path has {length} bytes", fix)


def _check_host(warehouse: str, document: Document) -> None:
    """A ``file://`` location whose first part some readers take for a host, others for a folder."""
    rest = warehouse.removeprefix(f"{FILE}//")
    if rest != warehouse and not rest.startswith("/"):
        fix = f"write {FILE}///PATH with the whole path, or a path without {FILE}"
        document.report(("catalog", "warehouse"), f"'{rest.partition('/')[0]}' would be a host's name", fix)


def _catalog_type(catalog: Properties) -> str:
    """The type given, or the one pyiceberg infers from the URI. A REST warehouse is a name, not a place."""
    if given := catalog.get("type"):
        return str(given)
    scheme = str(catalog.get("uri", "")).partition(":")[0]
    return {"http": "rest", "https": "rest", "thrift": "hive"}.get(scheme, "sql" if scheme else "rest")
