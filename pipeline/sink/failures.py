"""Which failures of disks, stores and databases pass by themselves, and what to do about those that don't.

Errors are told apart by their names and codes: this module imports none of the libraries that raise them.
"""

import errno
import os
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_RIGHTS = "give the user of this process (or its keys) the right to read and write there, then start again"
_GONE = "put it back, or correct the place in lake.yaml"
_SHORTER = "use shorter names: of the warehouse's folder, of the table, or of its namespace"
_PLACE = "correct catalog.uri or catalog.warehouse in lake.yaml"
_CREDENTIALS = "correct the user, the password or the keys in the catalog section or the environment"
_REPORT = "look at the server's log: it refuses what it is asked for"


@dataclass(frozen=True)
class Final:
    """A failure that no later try can mend.

    Attributes:
        what: what is wrong.
        next_step: what to do.
        gone: something is not there.
    """

    what: str
    next_step: str
    gone: bool = False


_DENIED = Final("permission denied", _RIGHTS)
_MISSING = Final("something is missing", _GONE, gone=True)
_LOGIN = Final("the credentials are refused", _CREDENTIALS)
_ODD = Final("the request is refused", _REPORT)
_WRONG_PLACE = Final("the place can't be used", _PLACE)

_ERRNO = {
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: Final("the file system is read-only", _RIGHTS),
    errno.ENOENT: _MISSING,
    errno.ENAMETOOLONG: Final("a name is too long for the file system", _SHORTER),
    errno.ENOTDIR: _WRONG_PLACE,
    errno.EISDIR: _WRONG_PLACE,
    errno.EEXIST: _WRONG_PLACE,
    errno.ELOOP: _WRONG_PLACE,
}
_CLASSES: tuple[tuple[type[OSError], Final], ...] = (
    (PermissionError, _DENIED),
    (FileNotFoundError, _MISSING),
    (NotADirectoryError, _WRONG_PLACE),
    (IsADirectoryError, _WRONG_PLACE),
    (FileExistsError, _WRONG_PLACE),
)
_REQUESTS = {
    "InvalidURL": _WRONG_PLACE,
    "MissingSchema": _WRONG_PLACE,
    "InvalidSchema": _WRONG_PLACE,
    "InvalidProxyURL": _WRONG_PLACE,
    "TooManyRedirects": _WRONG_PLACE,
    "JSONDecodeError": Final("what answers there is no catalog", _PLACE),
}
_CERTIFICATE = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|WRONG_VERSION_NUMBER", re.IGNORECASE
)
_TLS = Final(
    "the server's certificate is refused", "correct the address, or trust the certificate's authority"
)

_AWS = re.compile(r"AWS Error ([A-Z_]+)(?: \(HTTP status (\d+)\))?")
_AWS_FINAL = {
    "ACCESS_DENIED": _DENIED,
    "NO_SUCH_BUCKET": _MISSING,
    "NO_SUCH_KEY": _MISSING,
    "RESOURCE_NOT_FOUND": _MISSING,
    "INVALID_ACCESS_KEY_ID": _LOGIN,
    "INVALID_CLIENT_TOKEN_ID": _LOGIN,
    "INVALID_SIGNATURE": _LOGIN,
    "SIGNATURE_DOES_NOT_MATCH": _LOGIN,
    "INCOMPLETE_SIGNATURE": _LOGIN,
    "MISSING_AUTHENTICATION_TOKEN": _LOGIN,
    "UNRECOGNIZED_CLIENT": _LOGIN,
    "REQUEST_EXPIRED": _LOGIN,
    "REQUEST_TIME_TOO_SKEWED": Final("this machine's clock is wrong", "set the clock"),
}
_PASSING_STATUS = ("408", "409", "423", "425", "429")
_STATUS = {"401": _LOGIN, "403": _DENIED, "404": _MISSING}

_SQLITE = {
    3: _DENIED,  # PERM
    8: Final("the catalog's database is read-only", _RIGHTS),
    11: Final("the catalog's database is damaged", "restore the database of the catalog"),
    12: _MISSING,
    23: _DENIED,  # AUTH
    26: Final("the catalog's file is no SQLite database", _PLACE),
    1: Final("the catalog's database is not as it should be", "restore it, or correct catalog.uri"),
}
_SQLITE_CANT_OPEN = 14
_SQLSTATE_PASSES = re.compile(r"08|40|53|55|57|58|23|XX|HY")
_SQLSTATE = {
    "42501": Final("the catalog's database refuses it", "grant the user rights on the catalog's tables"),
    "42P01": Final("a table of the catalog's database is missing", "restore it, or correct catalog.uri"),
    "25006": Final("the catalog's database is read-only", "connect to the primary, or make it writable"),
    "22001": Final("a name is too long for the catalog's database", _SHORTER),
    "3D000": Final("the catalog's database does not exist", "create it, or correct catalog.uri"),
}
_LOGIN_WORDS = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|role \"[^\"]*\" does not exist"
    r"|is not permitted to log in|access denied for user",
    re.IGNORECASE,
)
_NO_DATABASE_WORDS = re.compile(r"database \"[^\"]*\" does not exist|unknown database", re.IGNORECASE)
_DENIED_WORDS = re.compile(r"permission denied|insufficient privilege", re.IGNORECASE)


def final(error: BaseException) -> Final | None:
    """What is wrong for good; None for a failure after which trying again can help.

    Args:
        error: an `OSError` (requests' errors are such), or an error of a database's driver or SQLAlchemy's.
    """
    original = getattr(error, "orig", None)
    if isinstance(original, BaseException):
        return _of_database(original)
    if isinstance(error, OSError):
        return _of_system(error)
    return None


def unopened(error: BaseException, database: str | None) -> Final | None:
    """Why SQLite can't open its file; None where it should, since SQLite says the same of a full disk."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    if code is None or code & 0xFF != _SQLITE_CANT_OPEN or not database:
        return None
    path = Path(database)
    if path.is_dir():
        return _WRONG_PLACE
    if not path.parent.is_dir():
        return _MISSING
    wanted = path if path.exists() else path.parent
    return None if os.access(wanted, os.R_OK | os.W_OK) else _DENIED


def final_words(text: str) -> Final | None:
    """The same of a library's text that tells of an error of a system or a store."""
    if found := _of_store(text):
        return found
    if "Permission denied" in text or "PermissionError" in text:
        return _DENIED
    return _ERRNO[errno.ENAMETOOLONG] if "File name too long" in text else None


def _of_system(error: OSError) -> Final | None:
    if isinstance(error, ssl.SSLError):  # its errno is OpenSSL's number
        return _TLS if _CERTIFICATE.search(str(error)) else None
    if error.errno in _ERRNO:
        return _ERRNO[error.errno]
    if error.errno is None:
        for kind, found in _CLASSES:
            if isinstance(error, kind):
                return found
    if _CERTIFICATE.search(str(error)):
        return _TLS
    if type(error).__module__.startswith("requests."):
        return _REQUESTS.get(type(error).__name__)
    return _of_store(str(error))


def _of_store(text: str) -> Final | None:
    match = _AWS.search(text)
    if match is None:
        return None
    if match[1] in _AWS_FINAL:
        return _AWS_FINAL[match[1]]
    status = match[2] or ""
    if status.startswith("4") and status not in _PASSING_STATUS:
        return _STATUS.get(status, _ODD)
    return None


def _of_database(error: BaseException) -> Final | None:
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return _SQLITE.get(code & 0xFF)
    state = next(_sqlstates(error), None)
    if state is not None:
        if state in _SQLSTATE or not _SQLSTATE_PASSES.match(state):
            return _SQLSTATE.get(state, _LOGIN if state.startswith("28") else _ODD)
        return None
    for words, found in (
        (_LOGIN_WORDS, _LOGIN),
        (_NO_DATABASE_WORDS, _SQLSTATE["3D000"]),
        (_DENIED_WORDS, _SQLSTATE["42501"]),
    ):
        if words.search(str(error)):
            return found
    return None


def _sqlstates(error: BaseException) -> Iterator[str]:
    """PostgreSQL's code of an error, as its drivers have it; none where the connection failed."""
    for name in ("pgcode", "sqlstate"):
        state = getattr(error, name, None)
        if isinstance(state, str) and state:
            yield state
