"""The list of an epoch's data files: all that a commit needs, in this process or the next one."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pyiceberg.conversions import from_bytes, to_bytes
from pyiceberg.manifest import DataFile
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.typedef import Record

from pipeline.sink.epoch import Position
from pipeline.sink.files import data_file

_COUNTS = ("column_sizes", "value_counts", "null_value_counts", "nan_value_counts")
_BOUNDS = ("lower_bounds", "upper_bounds")


@dataclass(frozen=True)
class PlannedFile:
    """A data file as JSON: its path, and its description for the manifest."""

    path: str
    description: dict[str, Any]

    @staticmethod
    def of(file: DataFile, spec: PartitionSpec, schema: Schema) -> "PlannedFile":
        """Plan a file that was written."""
        kinds = spec.partition_type(schema).fields
        partition = [
            None if value is None else _text(to_bytes(kind.field_type, value))  # type: ignore[arg-type]
            for kind, value in zip(kinds, (file.partition[i] for i in range(len(kinds))), strict=True)
        ]
        description: dict[str, Any] = {
            "spec_id": file.spec_id,
            "file_size_in_bytes": file.file_size_in_bytes,
            "record_count": file.record_count,
            "split_offsets": file.split_offsets,
            "partition": partition,
        }
        for name in _COUNTS:
            description[name] = {str(k): v for k, v in (getattr(file, name) or {}).items()}
        for name in _BOUNDS:
            description[name] = {str(k): _text(v) for k, v in (getattr(file, name) or {}).items()}
        return PlannedFile(file.file_path, description)

    def data_file(self, specs: dict[int, PartitionSpec], schema: Schema) -> DataFile:
        """The file as pyiceberg appends it."""
        known = dict(self.description)
        spec_id = known.pop("spec_id")
        kinds = specs[spec_id].partition_type(schema).fields
        partition = Record(
            *(
                None if text is None else from_bytes(kind.field_type, _bytes(text))  # type: ignore[arg-type]
                for kind, text in zip(kinds, known.pop("partition"), strict=True)
            )
        )
        for name in _COUNTS:
            known[name] = {int(k): v for k, v in known[name].items()}
        for name in _BOUNDS:
            known[name] = {int(k): _bytes(v) for k, v in known[name].items()}
        return data_file(spec_id, file_path=self.path, partition=partition, **known)


@dataclass(frozen=True)
class TableFiles:
    """One table's part of an epoch.

    Attributes:
        identifier: the Iceberg identifier.
        added: the files of new rows.
        replaced: upsert mode: paths of files whose place `rewritten` takes.
        rewritten: upsert mode: the rows of those files that stay.
        closed: upsert mode: paths of those of `added` whose open twins the rewrite removed.
    """

    identifier: str
    added: tuple[PlannedFile, ...]
    replaced: tuple[str, ...] = ()
    rewritten: tuple[PlannedFile, ...] = ()
    closed: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileList:
    """An epoch's files, in the order in which tables are committed: children, the parent, dead letters."""

    dataset: str
    write: str
    position: Position
    tables: tuple[TableFiles, ...] = field(default=())

    def to_json(self) -> str:
        """Text from which `from_json` makes an equal list."""
        return json.dumps(_plain(self), separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> "FileList":
        """Read back what `to_json` wrote."""
        known = json.loads(text)
        tables = tuple(
            TableFiles(
                table["identifier"],
                added=_planned(table["added"]),
                replaced=tuple(table["replaced"]),
                rewritten=_planned(table["rewritten"]),
                closed=tuple(table["closed"]),
            )
            for table in known["tables"]
        )
        return FileList(known["dataset"], known["write"], Position.from_summary(known["position"]), tables)

    def moved(self, move: Callable[[str], str]) -> "FileList":
        """The same files after `move`, which gives each one's path."""

        def planned(files: tuple[PlannedFile, ...]) -> tuple[PlannedFile, ...]:
            return tuple(replace(file, path=move(file.path)) for file in files)

        return replace(
            self,
            tables=tuple(
                TableFiles(
                    table.identifier,
                    added=planned(table.added),
                    replaced=tuple(map(move, table.replaced)),
                    rewritten=planned(table.rewritten),
                    closed=tuple(map(move, table.closed)),
                )
                for table in self.tables
            ),
        )

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file that this epoch wrote."""
        return tuple(file.path for table in self.tables for file in (*table.added, *table.rewritten))


def _plain(files: FileList) -> dict[str, Any]:
    return {
        "dataset": files.dataset,
        "write": files.write,
        "position": files.position.to_summary(files.dataset),
        "tables": [
            {
                "identifier": table.identifier,
                "added": [[file.path, file.description] for file in table.added],
                "replaced": table.replaced,
                "rewritten": [[file.path, file.description] for file in table.rewritten],
                "closed": table.closed,
            }
            for table in files.tables
        ],
    }


def _planned(files: list[tuple[str, dict[str, Any]]]) -> tuple[PlannedFile, ...]:
    return tuple(PlannedFile(path, description) for path, description in files)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
