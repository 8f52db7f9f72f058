"""JSON Lines files: plain, gzip, zstd, and standard input."""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import BadInput
from pipeline.source.lines import BLOCK_BYTES, BLOCK_RECORDS, LINE_LIMIT, LineSource
from pipeline.source.streams import NotJsonLines, StoredFile, Unreadable, unpacked

STANDARD_INPUT = "-"
_STANDARD = 0
_HEAD = 64 << 10


@dataclass(frozen=True)
class FileIdentity:
    """What tells that a file is the one whose load was begun.

    Attributes:
        path: absolute, links followed.
        size: in bytes as stored.
        head: SHA-256, in hexadecimal, of the first 64 KiB as stored.
    """

    path: str
    size: int
    head: str


class FileSource(LineSource):
    """The lines of a file, or of standard input for ``-``; see `LineSource` for the arguments.

    Attributes:
        given: the file as the caller named it; bytes that are no text are U+FFFD.
        identity: None for standard input and other pipes, whose loads can't go on where they stopped.
        size: bytes as stored, to compare with `Block.bytes_done`; None where it is not known.

    Raises:
        BadInput: it is missing, a directory, not permitted, or not JSON Lines.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        block_bytes: int = BLOCK_BYTES,
        block_records: int = BLOCK_RECORDS,
        line_limit: int = LINE_LIMIT,
    ) -> None:
        standard = str(path) == STANDARD_INPUT
        self.given = os.fsencode(path).decode(errors="replace")
        name = "standard input" if standard else str(path)
        stored = StoredFile(_STANDARD if standard else _open(Path(path)), owned=not standard)
        try:
            self.identity = None if standard else _identity(stored.descriptor, Path(path))
            self.size = self.identity.size if self.identity else None
            stream = unpacked(stored, name)
        except NotJsonLines as error:
            stored.close()
            raise BadInput(
                f"{name} is {error}, not JSON Lines",
                next_step="give one JSON record per line, plain or compressed by gzip or zstd",
            ) from error
        except (OSError, Unreadable) as error:
            stored.close()
            raise BadInput(
                f"{name} can't be read: {error}", next_step="check the disk, then try again"
            ) from error
        super().__init__(
            stream, name, block_bytes=block_bytes, block_records=block_records, line_limit=line_limit
        )


def _open(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        if path.is_symlink():
            raise BadInput(
                f"{path} is a link to {path.readlink()}, where there is nothing",
                next_step="mend the link, or give the file itself",
            ) from error
        raise BadInput(
            f"there is no file {path}", next_step=f"check the name; relative ones start at {Path.cwd()}"
        ) from error
    except PermissionError as error:
        raise BadInput(
            f"{path} may not be read by this user", next_step=f"allow it, e.g. `chmod a+r {path}`"
        ) from error
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"{path} can't be opened: {why}", next_step="check the name") from error
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadInput(f"{path} is a directory", next_step=f"name its files, e.g. {path}/*.jsonl")
    return descriptor


def _identity(descriptor: int, path: Path) -> FileIdentity | None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return None
    head = hashlib.sha256(os.pread(descriptor, _HEAD, 0)).hexdigest()
    return FileIdentity(str(path.resolve()), status.st_size, head)
