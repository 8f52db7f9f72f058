"""Opening the Iceberg catalog that lake.yaml names."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from pyiceberg.catalog import AVAILABLE_CATALOGS, Catalog, CatalogType, load_catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    ForbiddenError,
    NoSuchNamespaceError,
    NoSuchPropertyException,
    NoSuchTableError,
    NotInstalledError,
    OAuthError,
    RESTError,
    ServerError,
    ServiceUnavailableError,
    TooManyRequestsError,
    UnauthorizedError,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from tenacity import (
    retry,
    retry_if_exception,
    retry_if_exception_type,
    stop_after_attempt,
    wait_fixed,
    wait_random_exponential,
)

from pipeline.errors import BadConfiguration, Refused, Unavailable
from pipeline.sink.avro_readers import mend_readers
from pipeline.sink.failures import Final, final, unopened

Call = TypeVar("Call", bound=Callable[..., Any])

TRANSIENT: tuple[type[Exception], ...] = (
    CommitFailedException,
    CommitStateUnknownException,
    ServiceUnavailableError,
    ServerError,
    TooManyRequestsError,
    DBAPIError,
    PoolTimeout,
    OSError,
)
"""Errors of a catalog or an object store after which trying again may help (requests' are OSErrors): see
`may_pass`."""


def may_pass(error: BaseException) -> bool:
    """Whether trying again can help: no connection, a time-out, a server that is busy or has failed.

    Permissions, tables and files that are missing, and names that are too long do not mend themselves.
    """
    return isinstance(error, TRANSIENT) and final(error) is None


_BUSY = (NoSuchNamespaceError, ServerError, ServiceUnavailableError, TooManyRequestsError)


def _again_after(*errors: type[Exception]) -> Callable[[Call], Call]:
    decorator = retry(
        retry=retry_if_exception_type(errors),
        stop=stop_after_attempt(10),
        wait=wait_random_exponential(multiplier=0.05, max=1),
        reraise=True,
    )
    return cast(Callable[[Call], Call], decorator)


while_busy = _again_after(*_BUSY)
"""Calls again, for some 3 seconds, what may be repeated while a catalog answers that it can't do it just now.

REST catalogs answer so while another process is half-way through creating the same namespace or table. A
catalog that does not answer at all is not waited for.
"""
until_made = _again_after(*_BUSY, NoSuchTableError)
"""The same for what creates a table, which may be gone for a moment when two do so at once."""

_REFUSED = (UnauthorizedError, ForbiddenError, OAuthError)
_DURABLE = "pipeline.sink.durable.DurableFileIO"
_REST = "pipeline.sink.rest.TimedRestCatalog"


def _may_be_raced(error: BaseException) -> bool:
    """SQLite, and PostgreSQL, tell one of two that create a table at once that it is there already."""
    return isinstance(error, DBAPIError) and (may_pass(error) or "already exists" in str(error))


def open_catalog(config: Mapping[str, str]) -> Catalog:
    """Open the catalog of lake.yaml.

    Args:
        config: the ``catalog`` section as it is; everything but ``name`` goes to pyiceberg.

    Raises:
        BadConfiguration: the section can't be understood, or the catalog refuses the credentials.
        Unavailable: nothing answers at the catalog's address.
    """
    mend_readers()
    properties = {key: str(value) for key, value in config.items() if value is not None}
    name = properties.pop("name", "lake")
    properties.setdefault("py-io-impl", _DURABLE)
    uri = properties.get("uri", "")
    if properties.get("type") == "sql" or (not properties.get("type") and "sql" in uri.partition(":")[0]):
        properties.setdefault("pool_pre_ping", "true")
        _make_sqlite_folder(uri)
    if properties.get("type", "rest" if uri.startswith("http") else "").lower() == "rest":
        properties.pop("type", None)
        properties.setdefault("py-catalog-impl", _REST)
    try:
        with explained(uri or name):
            return _load(name, properties)
    except (NoSuchModuleError, NotInstalledError, ImportError) as error:
        raise BadConfiguration(
            f"this kind of catalog needs a library that is not installed: {error}",
            next_step="install pyiceberg with the extra for it, e.g. pip install 'pyiceberg[glue]'",
        ) from error
    except (NoSuchPropertyException, ValueError, TypeError, RESTError, ArgumentError) as error:
        raise BadConfiguration(
            f"the catalog can't be used as lake.yaml describes it: {_first_line(error)}",
            next_step="check the catalog section against pyiceberg's documentation of this catalog type",
        ) from error


@retry(
    retry=retry_if_exception(_may_be_raced), stop=stop_after_attempt(3), wait=wait_fixed(0.1), reraise=True
)
def _load(name: str, properties: dict[str, str]) -> Catalog:
    """Load a catalog; again if another process created its database tables at the same moment."""
    AVAILABLE_CATALOGS[CatalogType.SQL] = _load_sql
    return load_catalog(name, **properties)


def _load_sql(name: str, properties: dict[str, str]) -> Catalog:
    from pipeline.sink.sql import QuickSqlCatalog

    return QuickSqlCatalog(name, **properties)


def _make_sqlite_folder(uri: str) -> None:
    try:
        url = make_url(uri)
    except ArgumentError as error:
        raise BadConfiguration(
            f"catalog.uri is not a database address: {error}",
            next_step="write sqlite:///path/to/catalog.db or postgresql+psycopg2://user@host/database",
        ) from error
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        with explained(uri):
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn what pyiceberg and its drivers raise into errors that say whether to wait, or else what to do."""
    try:
        yield
    except _REFUSED as error:
        raise BadConfiguration(
            f"the catalog refused the credentials: {error}",
            next_step="check catalog.credential or catalog.token (environment: BITLAKE__CATALOG__CREDENTIAL)",
        ) from error
    except (NoSuchNamespaceError, NoSuchTableError) as error:
        raise Refused(
            f"a table of the dataset is gone: {error}",
            next_step="stop what dropped it; if that was meant, remove the state and load the data again",
        ) from error
    except TRANSIENT as error:
        if (found := final(error) or unopened(error, _sqlite_file(where))) is not None:
            raise _final(found, error, where) from error
        raise Unavailable(
            f"the catalog or its warehouse does not answer: {_first_line(error)}",
            next_step=f"check that {_without_password(where)} can be reached and written, then try again",
        ) from error
    except RESTError as error:
        raise BadConfiguration(
            f"the catalog can't do what was asked: {_first_line(error)}",
            next_step="check catalog.uri and catalog.warehouse: the catalog answers, and does not know them",
        ) from error


def _final(found: Final, error: Exception, where: str) -> BadConfiguration | Refused:
    kind = Refused if found.gone else BadConfiguration
    message = f"the catalog or its warehouse can't be used, {found.what}: {_first_line(error)}"
    return kind(message, next_step=f"{found.next_step} ({_without_password(where)})")


def _sqlite_file(where: str) -> str | None:
    try:
        url = make_url(where)
    except ArgumentError:
        return None
    return url.database if url.get_backend_name() == "sqlite" else None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _without_password(where: str) -> str:
    try:
        return make_url(where).render_as_string(hide_password=True)
    except ArgumentError:
        return where
