"""A table as its metadata file tells it.

Read without pyiceberg, which takes longer to import than most questions take to answer.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.places import is_local, local_path

if TYPE_CHECKING:
    from pyiceberg.table import Table


@dataclass(frozen=True)
class Summary:
    """What a snapshot's commit did."""

    additional_properties: dict[str, str]


@dataclass(frozen=True)
class Snapshot:
    """One state of a table."""

    snapshot_id: int
    parent_snapshot_id: int | None
    sequence_number: int | None
    manifest_list: str
    summary: Summary | None

    @staticmethod
    def of(told: Mapping[str, Any]) -> "Snapshot":
        """A snapshot of a metadata file."""
        return Snapshot(
            told["snapshot-id"],
            told.get("parent-snapshot-id"),
            told.get("sequence-number"),
            told["manifest-list"],
            Summary(dict(told["summary"])) if told.get("summary") else None,
        )


@dataclass(frozen=True)
class Ref:
    """A branch or a tag."""

    snapshot_id: int


@dataclass(frozen=True)
class StoredTable:
    """A table at one moment: what is committed later does not change it.

    Attributes:
        identifier: its namespace's parts and its name.
        metadata: the metadata file's contents.
        iceberg: the same table by pyiceberg.
    """

    identifier: tuple[str, ...]
    metadata: Mapping[str, Any]
    iceberg: Callable[[], "Table"] = field(compare=False, repr=False)

    @staticmethod
    def of(table: "Table") -> "StoredTable":
        """A table that pyiceberg has loaded."""
        import json

        return StoredTable(table.name(), json.loads(table.metadata.model_dump_json()), lambda: table)

    @property
    def location(self) -> str:
        """Where its files are, but for those that were put elsewhere."""
        return str(self.metadata["location"])

    @property
    def properties(self) -> Mapping[str, str]:
        """Its properties."""
        return self.metadata.get("properties") or {}

    @cached_property
    def fields(self) -> tuple[Mapping[str, Any], ...]:
        """The fields of its schema, each with its ``id``, ``name`` and ``type``."""
        current = self.metadata.get("current-schema-id", 0)
        schemas = self.metadata.get("schemas") or [self.metadata["schema"]]  # format version 1 may have one
        return tuple(next(s for s in schemas if s.get("schema-id", 0) == current)["fields"])

    @cached_property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """Those that were not expired."""
        return tuple(Snapshot.of(told) for told in self.metadata.get("snapshots") or ())

    @cached_property
    def refs(self) -> Mapping[str, Ref]:
        """Its branches and tags."""
        told = self.metadata.get("refs") or {}
        return {name: Ref(ref["snapshot-id"]) for name, ref in told.items()}

    @property
    def current_snapshot_id(self) -> int | None:
        """None before the first commit."""
        current = self.metadata.get("current-snapshot-id")
        return None if current in (None, -1) else int(current)

    @property
    def snapshot(self) -> Snapshot | None:
        """The current snapshot."""
        current = self.current_snapshot_id
        return next((s for s in self.snapshots if s.snapshot_id == current), None)

    def read(self, location: str) -> bytes:
        """The bytes of one of its files."""
        if is_local(location):
            return Path(local_path(location)).read_bytes()
        from pipeline.query.remote import opened

        with closing(opened(self.iceberg().io, location)) as file:
            return file.read()
