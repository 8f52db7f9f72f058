"""DuckDB, as bitlake uses it: in memory, in UTC, within bounds, reading where the tables are."""

import os
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import duckdb
import pyarrow as pa

from pipeline.errors import BadConfiguration, BadInput, BitlakeError, Unavailable
from pipeline.sink.failures import final_words

if TYPE_CHECKING:
    from pyiceberg.io import FileIO

PROTOCOL = "bitlake"
PREFIX = PROTOCOL + "://"
"""Before the location of a file that is not on this machine."""

_SHARE_OF_MEMORY = 4
_LEAST_MEMORY = 1 << 30
_REACHABLE = "check that the warehouse can be reached; if files expired meanwhile, ask again"


class Session:
    """A DuckDB database in memory; several threads may share it, one query runs at a time."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(config=_settings())
        self._connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        self._lock = threading.RLock()
        weakref.finalize(self, self._connection.close)

    def reach(self, io: "FileIO") -> None:
        """Let DuckDB read the files that `io` reads, where they are not local."""
        from pipeline.query.remote import remote_files

        with self._lock:
            if self._connection.filesystem_is_registered(PROTOCOL):
                self._connection.unregister_filesystem(PROTOCOL)
            self._connection.register_filesystem(remote_files(io))

    def register(self, name: str, rows: pa.Table) -> None:
        """Make rows known to queries."""
        with self._lock:
            self._connection.register(name, rows)

    def execute(self, statement: str) -> None:
        """Run a statement that has no answer."""
        with self._lock:
            self._connection.execute(statement)

    def ask(self, query: str) -> pa.Table:
        """Run a user's query.

        Raises:
            BadInput: DuckDB refuses the query.
            Unavailable: a data file can't be read.
        """
        try:
            with self._lock, _explained():
                relation = self._connection.sql(query)
                return _with_plain_sums(relation) if relation is not None else pa.table({})
        except duckdb.Error as error:
            raise BadInput(
                f"DuckDB refuses the query: {error}",
                next_step="`bitlake sql 'SHOW ALL TABLES'` lists what can be asked",
            ) from error

    def rows(self, statement: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """Run a statement of ours; an error of DuckDB that is nobody's else comes as it is.

        Raises:
            Unavailable: a data file can't be read.
        """
        with self._lock, _explained():
            return self._connection.sql(statement, params=dict(parameters or {})).to_arrow_table()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (duckdb.IOException, duckdb.HTTPException, OSError) as error:
        raise _unreadable(error, _first_line(error)) from error
    except duckdb.OutOfMemoryException as error:
        raise BitlakeError(
            f"the query needs more memory than it may use: {_first_line(error)}",
            next_step="ask for fewer keys (--key), or make room for temporary files (TMPDIR)",
        ) from error
    except duckdb.Error as error:
        if type(error) is not duckdb.Error:
            raise
        _explain_remote(error)


def _explain_remote(error: duckdb.Error) -> NoReturn:
    """DuckDB's base class comes only where Python code that it called failed: our reading of remote files."""
    raise _unreadable(error, str(error).strip().rpartition(chr(10))[2]) from error


def _unreadable(error: Exception, told: str) -> BitlakeError:
    """A file that is gone may have expired since the question began: asking again helps."""
    found = final_words(str(error))
    if found is None or found.gone:
        return Unavailable(f"a data file can't be read: {told}", next_step=_REACHABLE)
    return BadConfiguration(f"a data file can't be read, {found.what}: {told}", next_step=found.next_step)


def _with_plain_sums(relation: duckdb.DuckDBPyRelation) -> pa.Table:
    """DuckDB's sums of integers have 128 bits, which Arrow has as decimals only: long, where they fit."""
    rows = relation.to_arrow_table()
    for position, type_ in enumerate(relation.types):
        if str(type_) == "HUGEINT":
            column = rows.column(position)
            try:
                rows = rows.set_column(position, rows.column_names[position], column.cast(pa.int64()))
            except pa.ArrowInvalid:
                continue
    return rows


def _settings() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _SHARE_OF_MEMORY
    return {
        "memory_limit": f"{max(memory, _LEAST_MEMORY)}B",
        "temp_directory": os.path.join(tempfile.gettempdir(), f"bitlake-{os.getpid()}"),  # noqa: PTH118
        "preserve_insertion_order": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
