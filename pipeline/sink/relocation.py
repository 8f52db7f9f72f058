"""Having the tables of a lake that was moved or copied name the files that are here.

Metadata, manifest lists, manifests and files of position deletes hold whole paths. They are written anew,
under new names, beside the old ones; then all rows of the catalog are changed in one transaction. Until then
nothing was changed; afterwards the old ones, which nothing names any more, are deleted. Run again after a
crash, it writes the same files again. Data files stay as they are.
"""

import gzip
import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from pipeline.errors import BadConfiguration, Refused
from pipeline.faults import reach
from pipeline.places import is_local, local_path, sqlite_file
from pipeline.sink import avro
from pipeline.sink.epoch import LETTERS
from pipeline.sink.moved import Home, is_below

_POSITION_DELETES = 1
_FILE_PATH = 2147483546
"""Iceberg's field id of the paths in a file of position deletes."""
_EARLIER = re.compile(r"-moved-[0-9a-f]{8}$")


@dataclass(frozen=True)
class Relocated:
    """A table that names other files now.

    Attributes:
        table: its identifier.
        before: the warehouse it was in.
        after: the warehouse it is in.
        files: how many files were written anew.
    """

    table: str
    before: str
    after: str
    files: int


@dataclass(frozen=True)
class Move:
    """From one warehouse's path to another's."""

    before: str
    after: str

    def __call__(self, location: str) -> str:
        """A location after the move; as it is if it was elsewhere."""
        if not is_local(location):
            return location
        path = local_path(location)
        if not is_below(path, self.before):
            return location
        return location.removesuffix(path) + self.after + path.removeprefix(self.before)


@dataclass(frozen=True)
class _Row:
    """A table in the catalog."""

    namespace: str
    name: str
    location: str

    @property
    def identifier(self) -> str:
        return f"{self.namespace}.{self.name}"


@dataclass
class Relocation:
    """What has to be done to a lake's tables; nothing is until `run`.

    Attributes:
        moves: from where to where; none: every table is where it should be.

    Raises:
        BadConfiguration: the lake's warehouse is no folder of this machine.
        Refused: files are missing here, or the catalog may be that of the lake that was copied.
    """

    catalog: SqlCatalog
    moves: list[Move] = field(default_factory=list)

    def __post_init__(self) -> None:
        home = Home(self.catalog.properties)
        if home.folder is None or not isinstance(self.catalog, SqlCatalog):
            raise BadConfiguration(
                "only a lake whose catalog is sql, and whose warehouse is a folder, can be relocated",
                next_step="see docs/how-to/backup-copy-move.md for lakes in S3, or behind a REST catalog",
            )
        self._folder = home.folder
        self._rows: list[tuple[_Row, Move]] = []
        for row in self._listed():
            if not home.has(row.location):
                self._rows.append((row, self._move_of(row)))
        self.moves = list({move: None for _, move in self._rows})

    def run(self, before_commit: Callable[[], None]) -> list[Relocated]:
        """Do it; `before_commit` is called when all new files are there, before the catalog is changed."""
        made = [_Table(move).relocate(row.location) for row, move in self._rows]
        os.sync()
        before_commit()
        reach("before-relocating")
        self._commit([new.location for new in made])
        reach("after-relocating")
        for new in made:
            new.delete_old()
        return [
            Relocated(row.identifier, move.before, move.after, len(new.written))
            for (row, move), new in zip(self._rows, made, strict=True)
        ]

    def _listed(self) -> list[_Row]:
        wanted = select(
            IcebergTables.table_namespace, IcebergTables.table_name, IcebergTables.metadata_location
        ).where(IcebergTables.catalog_name == self.catalog.name)
        with Session(self.catalog.engine) as session:
            return [_Row(space, name, place) for space, name, place in session.execute(wanted) if place]

    def _commit(self, locations: Sequence[str]) -> None:
        with Session(self.catalog.engine) as session:
            for (row, _), location in zip(self._rows, locations, strict=True):
                changed: Any = session.execute(
                    update(IcebergTables)
                    .where(
                        IcebergTables.catalog_name == self.catalog.name,
                        IcebergTables.table_namespace == row.namespace,
                        IcebergTables.table_name == row.name,
                        IcebergTables.metadata_location == row.location,
                    )
                    .values(metadata_location=location, previous_metadata_location=None)
                )
                if changed.rowcount != 1:
                    raise Refused(
                        f"{row.identifier} was changed by another program meanwhile; nothing was relocated",
                        next_step="stop what writes to the lake, then try again",
                    )
            session.commit()

    def _move_of(self, row: _Row) -> Move:
        """Where a table was and is: its metadata file is found by the end of its path."""
        path = local_path(row.location)
        parts = path.split("/")
        for first in range(1, len(parts)):
            end = "/".join(parts[first:])
            if os.path.exists(f"{self._folder}/{end}"):  # noqa: PTH110
                move = Move("/".join(parts[:first]) or "/", self._folder)
                self._refuse_shared_catalog(move, path)
                return move
        there = os.path.exists(path)  # noqa: PTH110
        raise Refused(
            f"the files of {row.identifier} are not in {self._folder}: its metadata is "
            + (f"still at {path}" if there else f"neither there nor at {path}"),
            next_step=f"copy the whole warehouse to {self._folder}, then try again; or have catalog.warehouse"
            " in lake.yaml name the folder that the tables are in",
        )

    def _refuse_shared_catalog(self, move: Move, path: str) -> None:
        """A copy needs a catalog of its own: changed in the other lake's, that one's tables would be ours."""
        if not os.path.exists(path):  # noqa: PTH110
            return
        before, after = move.before.split("/"), move.after.split("/")
        while before and after and before[-1] == after[-1]:
            before.pop()
            after.pop()
        base = "/".join(after) or "/"
        database = sqlite_file(str(self.catalog.properties.get("uri", "")))
        if database is None or not is_below(os.path.realpath(database), os.path.realpath(base)):
            raise Refused(
                f"the lake that this one was copied from is still at {move.before}, and the catalog may be"
                " that one's",
                next_step="give the copy a copy of the catalog (another database) in lake.yaml, then try"
                f" again; if the lake was moved, remove what is left at {move.before} first",
            )


class _Table:
    """One table's metadata on their way."""

    def __init__(self, move: Move) -> None:
        self._move = move
        self._mark = f"-moved-{hashlib.sha256(move.after.encode()).hexdigest()[:8]}"
        self._manifests: dict[str, tuple[str, int]] = {}
        self._old: set[str] = set()
        self.written: set[str] = set()
        self.location = ""

    def relocate(self, location: str) -> "_Table":
        """Write everything that a table's metadata file leads to, and a new one."""
        old = local_path(self._move(location))
        data = Path(old).read_bytes()
        metadata = self._mapped(json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data))
        for snapshot in metadata.get("snapshots") or ():
            if "manifest-list" in snapshot:
                snapshot["manifest-list"] = self._list(snapshot["manifest-list"])
        log = metadata.setdefault("metadata-log", [])
        log.append(
            {"metadata-file": self._move(location), "timestamp-ms": metadata.get("last-updated-ms", 0)}
        )
        self.location = self._put(
            self._move(location), json.dumps(metadata).encode(), _next_name(old, self._move)
        )
        return self

    def delete_old(self) -> None:
        """Delete what the new files stand for; what can't be deleted does no harm."""
        for path in self._old - self.written:
            Path(path).unlink(missing_ok=True)

    def _mapped(self, value: Any) -> Any:
        """Every path in a part of the metadata after the move."""
        if isinstance(value, dict):
            return {
                key: json.dumps(self._mapped(json.loads(one))) if key == LETTERS else self._mapped(one)
                for key, one in value.items()
            }
        if isinstance(value, list):
            return [self._mapped(one) for one in value]
        return self._move(value) if isinstance(value, str) else value

    def _list(self, location: str) -> str:
        def change(record: dict[str, Any]) -> None:
            path = _text(record["manifest_path"])
            if path not in self._manifests:
                self._manifests[path] = self._manifest(self._move(path))
            new, length = self._manifests[path]
            record["manifest_path"], record["manifest_length"] = new.encode(), length

        return self._again(location, lambda data: avro.rewrite(data, change))

    def _manifest(self, location: str) -> tuple[str, int]:
        def change(record: dict[str, Any]) -> None:
            file = record["data_file"]
            path = self._move(_text(file["file_path"]))
            if file.get("content", 0) == _POSITION_DELETES:
                path = self._deletes(path, file)
            file["file_path"] = path.encode()
            if referenced := _optional(file.get("referenced_data_file")):
                moved = self._move(_text(referenced[1])).encode()
                file["referenced_data_file"] = (referenced[0], moved)

        new = self._again(location, lambda data: avro.rewrite(data, change))
        return new, Path(local_path(new)).stat().st_size

    def _deletes(self, location: str, file: dict[str, Any]) -> str:
        """A file of position deletes, which names data files."""
        if _text(file["file_format"]).lower() != "parquet":
            raise Refused(
                f"{location} holds deleted rows in a format that bitlake can't rewrite",
                next_step="have the program that wrote it compact the table where the lake was, then move it",
            )

        def change(data: bytes) -> bytes:
            rows = pq.read_table(pa.BufferReader(data))
            number = rows.schema.get_field_index("file_path")
            distinct = pc.unique(rows.column(number))
            moved = pa.array(
                [self._move(path) for path in distinct.to_pylist()], rows.schema.field(number).type
            )
            paths = moved.take(pc.index_in(rows.column(number), distinct))
            out = pa.BufferOutputStream()
            pq.write_table(rows.set_column(number, rows.schema.field(number), paths), out)
            return bytes(out.getvalue())

        new = self._again(location, change)
        file["file_size_in_bytes"] = Path(local_path(new)).stat().st_size
        for name in ("lower_bounds", "upper_bounds"):
            if bounds := _optional(file.get(name)):
                kept = [one for one in bounds[1] if one["key"] != _FILE_PATH]
                file[name] = (bounds[0], kept)
        return new

    def _again(self, location: str, change: Callable[[bytes], bytes]) -> str:
        """Write a file anew beside the old one."""
        old = Path(local_path(location))
        name = f"{_EARLIER.sub('', old.stem)}{self._mark}{old.suffix}"
        new = location.removesuffix(old.name) + name
        if local_path(new) not in self.written:
            self._put(location, change(old.read_bytes()), name)
            self._old.add(str(old))
        return new

    def _put(self, beside: str, data: bytes, name: str) -> str:
        location = f"{beside.rpartition('/')[0]}/{name}"
        path = Path(local_path(location))
        half = path.with_name(f".{name}.half")
        half.write_bytes(data)
        half.replace(path)
        self.written.add(str(path))
        return location


def _next_name(path: str, move: Move) -> str:
    """A metadata file's name that follows on another's, the same at every try."""
    name = Path(path).name
    version = re.match(r"\d+", name)
    number = int(version[0]) + 1 if version else 0
    return f"{number:05d}-{uuid.uuid5(uuid.NAMESPACE_URL, move.after + name)}.metadata.json"


def _text(value: Any) -> str:
    return (value[1] if isinstance(value, tuple) else value).decode()


def _optional(value: Any) -> tuple[int, Any] | None:
    """The branch and value of a nullable field that has one."""
    return value if isinstance(value, tuple) and value[1] != b"" else None
