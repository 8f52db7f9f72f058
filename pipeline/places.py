"""Names of files and folders as places that other libraries take, and back: no name is parsed as a URL.

A location of Iceberg is ``file://`` and the path as it is: Java's Hadoop, Trino and DuckDB decode no ``%20``
in it, and cut nothing off at ``#``, ``?`` or ``;``. An address of SQLAlchemy is a URL, whose path is quoted.
"""

import re
from pathlib import Path
from urllib.parse import quote, unquote

FILE = "file:"
SQLITE = "sqlite:///"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_MEMORY = SQLITE + ":memory:"


def is_local(location: str) -> bool:
    """Whether a location of Iceberg is a file of this machine."""
    return location.startswith(FILE) or _SCHEME.match(location) is None


def local_path(location: str) -> str:
    """The path of a local file's location."""
    path = location.removeprefix(FILE)
    return "/" + path.lstrip("/") if path.startswith("//") else path


def location_of(path: Path) -> str:
    """The location of a file or folder, whose path is absolute."""
    return f"{FILE}//{path}"


def sqlite_address(database: Path, options: str = "") -> str:
    """SQLAlchemy's address of a database in a file; options begin with ``?``."""
    return f"{SQLITE}{quote(str(database))}{options}"


def sqlite_file(address: str) -> Path | None:
    """The file of an address that `sqlite_address` made; None for every other database."""
    if not address.startswith(SQLITE) or address.startswith(_MEMORY):
        return None
    path = address.removeprefix(SQLITE).partition("?")[0]
    return Path(unquote(path)) if path else None
