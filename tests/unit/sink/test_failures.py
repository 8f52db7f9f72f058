"""Which failures are tried again, and what is said of the others."""

import errno
import os
import sqlite3
import ssl
from pathlib import Path
from typing import Any

import pytest
import requests
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    ForbiddenError,
    NoSuchTableError,
    ServerError,
    ServiceUnavailableError,
)
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from pipeline.errors import BadConfiguration, BitlakeError, Refused, Unavailable
from pipeline.sink import LakeSink, open_catalog
from pipeline.sink.catalog import explained, may_pass
from pipeline.sink.failures import final_words
from state import StateUnavailable
from tests import lakes
from tests.servers import PostgreSQL, SeaweedFS

S3 = "When reading information for key 'a' in bucket 'b': AWS Error {} during HeadObject operation: No response body."


class Driver(Exception):
    """An error of a database's driver."""

    def __init__(self, told: str, **codes: Any) -> None:
        super().__init__(told)
        self.__dict__.update(codes)


def of_database(told: str, kind: type[DBAPIError] = OperationalError, **codes: Any) -> DBAPIError:
    return kind("SELECT 1", None, Driver(told, **codes))


def of_system(code: int) -> OSError:
    return OSError(code, os.strerror(code), "/warehouse/x")


PASSING: list[Exception] = [
    ConnectionError("connection refused"),
    of_system(errno.ECONNREFUSED),
    of_system(errno.ETIMEDOUT),
    of_system(errno.ENOSPC),
    of_system(errno.EIO),
    OSError("no more is known"),
    requests.exceptions.ConnectionError("refused"),
    requests.exceptions.ReadTimeout("timed out"),
    ssl.SSLError(1, "[SSL] record layer failure"),
    OSError(S3.format("NETWORK_CONNECTION")),
    OSError(S3.format("SLOW_DOWN (HTTP status 503)")),
    OSError(S3.format("UNKNOWN (HTTP status 500)")),
    OSError(S3.format("UNKNOWN (HTTP status 429)")),
    OSError(S3.format("INTERNAL_FAILURE (HTTP status 500)")),
    CommitFailedException("updated by another process"),
    CommitStateUnknownException("502"),
    ServerError("500"),
    ServiceUnavailableError("503"),
    of_database("database is locked", sqlite_errorcode=5),
    of_database("database or disk is full", sqlite_errorcode=13),
    of_database("unable to open database file", sqlite_errorcode=14),
    of_database('connection to server at "db", port 5432 failed: Connection refused', pgcode=None),
    of_database("FATAL:  the database system is starting up", pgcode=None),
    of_database("terminating connection due to administrator command", pgcode="57P01"),
    of_database("remaining connection slots are reserved", pgcode="53300"),
    of_database("could not serialize access", pgcode="40001"),
]
LASTING: list[tuple[Exception, str]] = [
    (of_system(errno.EACCES), "permission denied"),
    (of_system(errno.EPERM), "permission denied"),
    (of_system(errno.EROFS), "read-only"),
    (of_system(errno.ENAMETOOLONG), "too long"),
    (of_system(errno.ENOENT), "missing"),
    (of_system(errno.ENOTDIR), "can't be used"),
    (PermissionError("Forbidden"), "permission denied"),
    (FileNotFoundError("bucket/key"), "missing"),
    (requests.exceptions.InvalidURL("no host"), "can't be used"),
    (requests.exceptions.JSONDecodeError("Expecting value", "<html>", 0), "no catalog"),
    (requests.exceptions.SSLError("certificate verify failed: self-signed certificate"), "certificate"),
    (ssl.SSLCertVerificationError(1, "certificate verify failed"), "certificate"),
    (OSError(S3.format("ACCESS_DENIED")), "permission denied"),
    (OSError(S3.format("UNKNOWN (HTTP status 403)")), "permission denied"),
    (OSError(S3.format("NO_SUCH_BUCKET")), "missing"),
    (OSError(S3.format("SIGNATURE_DOES_NOT_MATCH")), "credentials"),
    (OSError(S3.format("UNKNOWN (HTTP status 400)")), "refused"),
    (of_database("attempt to write a readonly database", sqlite_errorcode=8), "read-only"),
    (of_database("attempt to write a readonly database", sqlite_errorcode=1032), "read-only"),
    (of_database("no such table: iceberg_tables", sqlite_errorcode=1), "not as it should be"),
    (of_database("file is not a database", sqlite_errorcode=26), "no SQLite"),
    (of_database("permission denied for table", ProgrammingError, pgcode="42501"), "refuses"),
    (of_database("permission denied for table", ProgrammingError, sqlstate="42501"), "refuses"),
    (of_database("relation does not exist", ProgrammingError, pgcode="42P01"), "missing"),
    (of_database("value too long", DBAPIError, pgcode="22001"), "too long"),
    (of_database("cannot execute UPDATE in a read-only transaction", pgcode="25006"), "read-only"),
    (of_database('FATAL:  password authentication failed for user "me"', pgcode=None), "credentials"),
    (of_database('FATAL:  role "me" does not exist', pgcode=None), "credentials"),
    (of_database('FATAL:  database "lake" does not exist', pgcode=None), "does not exist"),
]


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_what_passes_is_tried_again(error: Exception) -> None:
    assert may_pass(error)
    with pytest.raises(Unavailable) as caught, explained("postgresql://db/lake"):
        raise error
    assert caught.value.retryable


@pytest.mark.parametrize(("error", "says"), LASTING, ids=str)
def test_what_lasts_fails_at_once_and_says_what_to_do(error: Exception, says: str) -> None:
    assert not may_pass(error)
    with pytest.raises(BitlakeError, match=says) as caught, explained("postgresql://me:secret@db/lake"):
        raise error
    assert not caught.value.retryable
    assert isinstance(caught.value, BadConfiguration | Refused)
    assert "secret" not in str(caught.value)
    assert len(caught.value.next_step) > 20


@pytest.mark.parametrize("error", [ForbiddenError("no"), NoSuchTableError("no")])
def test_a_catalog_that_refuses_is_not_tried_again(error: Exception) -> None:
    assert not may_pass(error)


@pytest.mark.parametrize(
    ("told", "lasts"),
    [
        ('IO Error: Cannot open file "x": Permission denied', True),
        ("OSError: " + S3.format("ACCESS_DENIED"), True),
        ('IO Error: Cannot open file "x": Connection reset', False),
        ("OSError: " + S3.format("NETWORK_CONNECTION"), False),
    ],
)
def test_what_readers_tell(told: str, lasts: bool) -> None:
    assert (final_words(told) is not None) is lasts


def test_a_database_that_cant_be_opened(tmp_path: Path) -> None:
    """SQLite says the same of a folder in its place, which lasts, and of a full disk, which passes."""
    error = OperationalError("SELECT 1", None, Driver("unable to open database file", sqlite_errorcode=14))
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadConfiguration), explained(f"sqlite:///{tmp_path}/folder"):
        raise error
    with pytest.raises(Refused), explained(f"sqlite:///{tmp_path}/gone/catalog.db"):
        raise error
    with pytest.raises(Unavailable), explained(f"sqlite:///{tmp_path}/catalog.db"):
        raise error


def test_a_catalog_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_text("this is no database, but a text of some length" * 20)
    with pytest.raises(BadConfiguration, match="no SQLite database"):
        open_catalog(lakes.sqlite_config(tmp_path))


def test_a_catalog_without_its_tables_fails_at_once(tmp_path: Path) -> None:
    sink = lakes.sqlite_sink(tmp_path)
    with sqlite3.connect(tmp_path / "catalog.db") as database:
        database.execute("DROP TABLE iceberg_tables")
    with pytest.raises(BadConfiguration, match="not as it should be"):
        sink.open(lakes.dataset(), mode="append", partition_by=[])


def test_a_warehouse_whose_name_is_too_long(tmp_path: Path) -> None:
    config = lakes.sqlite_config(tmp_path) | {"warehouse": f"{tmp_path}/{'x' * 300}"}
    with pytest.raises(BadConfiguration, match="too long"):
        LakeSink.at(config, lakes.DEAD).open(lakes.dataset(), mode="append", partition_by=[])


def test_a_state_that_may_not_be_written_is_not_waited_for() -> None:
    assert not StateUnavailable(Path("s"), "IO error: While lock file: s: Permission denied").retryable
    assert StateUnavailable(Path("s"), "IO error: No space left on device").retryable


@pytest.mark.servers
def test_a_role_without_rights(postgres: PostgreSQL, tmp_path: Path) -> None:
    owner = create_engine(postgres.uri)
    with owner.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS reader"))
        connection.execute(text("CREATE ROLE reader LOGIN PASSWORD 'reader'"))
    config = {"name": "rights", "type": "sql", "uri": postgres.uri, "warehouse": str(tmp_path)}
    LakeSink.at(config, lakes.DEAD).open(lakes.dataset(), mode="append", partition_by=[])
    uri = owner.url.set(username="reader", password="reader").render_as_string(hide_password=False)
    with pytest.raises(BadConfiguration, match="permission denied") as caught:
        LakeSink.at(config | {"uri": uri}, lakes.DEAD).open(lakes.dataset(), mode="append", partition_by=[])
    assert not caught.value.retryable


@pytest.mark.servers
def test_keys_that_the_store_refuses(seaweed: SeaweedFS, tmp_path: Path) -> None:
    storage = {name: value for name, value in seaweed.rest_catalog.items() if name.startswith("s3.")}
    wrong = {"s3.secret-access-key": "wrong", "warehouse": "s3://lake/refused"}
    with pytest.raises(BadConfiguration, match="credentials|permission denied") as caught:
        LakeSink.at(lakes.sqlite_config(tmp_path) | storage | wrong, lakes.DEAD).open(
            lakes.dataset(), mode="append", partition_by=[]
        )
    assert not caught.value.retryable
