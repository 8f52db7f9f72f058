"""The world outside a process, which may fail it: the object store, the catalog and the state's disk."""

import io
import shutil
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Self, TypeVar

from pyiceberg.catalog import Catalog, MetastoreCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    ServiceUnavailableError,
    TableAlreadyExistsError,
)
from pyiceberg.io import FileIO, InputFile, OutputFile, load_file_io
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.locations import load_location_provider
from pyiceberg.table.metadata import TableMetadata, TableMetadataUtil, new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.table.update import SetPropertiesUpdate, update_table_metadata

from state import MemoryState, StateLocked, StateUnavailable
from state.base import StateSize, WriteBatch
from tests.faults.simulation.world import Process, World

T = TypeVar("T")
PLACE = Path("/state")


@dataclass
class Weather:
    """How likely the world outside fails a call.

    Attributes:
        before, after: the call is not made; it is made and its answer is lost.
        refused: another writer commits to the table just before.
        disk: the state's disk is full.
        away: nothing answers until then.
    """

    before: float = 0.0
    after: float = 0.0
    refused: float = 0.0
    disk: float = 0.0
    away: int = 0


@dataclass
class Outside:
    """What is left when all processes are dead: tables and files."""

    world: World
    weather: Weather = field(default_factory=Weather)
    files: dict[str, bytes] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    _metadata: dict[str, TableMetadata] = field(default_factory=dict)

    def metadata(self, location: str) -> TableMetadata:
        """A metadata file, which is read once: half of all time would go into that."""
        if location not in self._metadata:
            self._metadata[location] = TableMetadataUtil.parse_raw(self.files[location].decode())
        return self._metadata[location]

    def call(self, what: str, effect: Callable[[], T], errors: Sequence[Callable[[str], Exception]]) -> T:
        """Call the world outside; it may fail before or after it did what was asked."""
        self.world.pass_by(what)
        if not self._fragile():
            return self._changing(what, effect)
        random = self.world.random
        if self.world.now < self.weather.away or random.random() < self.weather.before:
            raise random.choice(errors)(f"{what} failed")
        result = self._changing(what, effect)
        self.world.pass_by(f"{what}: done")
        if random.random() < self.weather.after:
            raise random.choice(errors)(f"{what}: the answer was lost")
        return result

    def _changing(self, what: str, effect: Callable[[], T]) -> T:
        self.world.changes += not what.startswith(("read ", "load "))
        return effect()

    def interferes(self) -> bool:
        """Whether another writer commits now."""
        return self._fragile() and self.world.random.random() < self.weather.refused

    def disk_is_full(self) -> bool:
        """Whether the state can't be written now."""
        return self._fragile() and self.world.random.random() < self.weather.disk

    def _fragile(self) -> bool:
        process = self.world.process
        return process is not None and process.fragile and not self.world.calm


OUTSIDE: list[Outside] = []
"""The one at hand; pyiceberg makes its catalogs and file systems by the names of their classes."""


def outside() -> Outside:
    """The one at hand."""
    return OUTSIDE[-1]


class SimulatedIO(FileIO):
    """The object store."""

    def new_input(self, location: str) -> InputFile:
        return _Input(location)

    def new_output(self, location: str) -> OutputFile:
        return _Output(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        name = location if isinstance(location, str) else location.location
        outside().call(f"delete {_kind(name)}", lambda: outside().files.pop(name, None), [OSError])


class _Input(InputFile):
    def __len__(self) -> int:
        return len(outside().files[self.location])

    def exists(self) -> bool:
        return self.location in outside().files

    def open(self, seekable: bool = True) -> Any:
        return outside().call(f"read {_kind(self.location)}", self._open, [OSError])

    def _open(self) -> io.BytesIO:
        if self.location not in outside().files:
            raise FileNotFoundError(self.location)
        return io.BytesIO(outside().files[self.location])


class _Output(OutputFile):
    def __len__(self) -> int:
        return len(outside().files[self.location])

    def exists(self) -> bool:
        return self.location in outside().files

    def to_input_file(self) -> InputFile:
        return _Input(self.location)

    def create(self, overwrite: bool = False) -> Any:
        if not overwrite and self.exists():
            raise FileExistsError(self.location)
        return _Stream(self.location)


class _Stream:
    """A file that is there once it is closed, whole.

    No `io.BytesIO`: that closes itself when it is collected, which would be whenever Python likes.
    """

    def __init__(self, location: str) -> None:
        self._location, self._content, self.closed = location, bytearray(), False

    def write(self, content: bytes) -> int:
        self._content += content
        return len(content)

    def tell(self) -> int:
        return len(self._content)

    def flush(self) -> None:
        pass

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        if not self.closed:
            self.closed, content = True, bytes(self._content)
            outside().call(f"write {_kind(self._location)}", lambda: self._put(content), [OSError])

    def _put(self, content: bytes) -> None:
        outside().files[self._location] = content

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()


def _kind(location: str) -> str:
    """What a file is, for the trace: names hold no news."""
    name = location.rpartition("/")[2]
    return "data" if name.endswith(".parquet") else "metadata" if name.endswith(".json") else "manifest"


_LOST = (CommitStateUnknownException, ServiceUnavailableError, ConnectionError)


class SimulatedCatalog(MetastoreCatalog):
    """A catalog with compare-and-swap, as any other."""

    def load_table(self, identifier: Any) -> Table:
        name = _name(identifier)
        location = outside().call(
            f"load {name}", lambda: outside().tables.get(name), [ServiceUnavailableError, ConnectionError]
        )
        if location is None:
            raise NoSuchTableError(name)
        file_io = load_file_io(self.properties, location)
        with file_io.new_input(location).open():
            metadata = outside().metadata(location)
        return Table(Catalog.identifier_to_tuple(name), metadata, location, file_io, self)

    def create_table(
        self,
        identifier: Any,
        schema: Any,
        location: str | None = None,
        partition_spec: PartitionSpec = UNPARTITIONED_PARTITION_SPEC,
        sort_order: Any = None,
        properties: Any = None,
    ) -> Table:
        name, place = _name(identifier), f"{self.properties['warehouse']}/{_name(identifier)}"
        assert isinstance(schema, Schema)
        metadata = new_table_metadata(schema, partition_spec, UNSORTED_SORT_ORDER, place, properties or {})
        where = load_location_provider(place, metadata.properties).new_table_metadata_file_location()
        self._write_metadata(metadata, load_file_io(self.properties, where), where)

        def create() -> None:
            if outside().tables.setdefault(name, where) != where:
                raise TableAlreadyExistsError(name)

        outside().call(f"create {name}", create, [ServiceUnavailableError, ConnectionError])
        return self.load_table(name)

    def commit_table(self, table: Table, requirements: Any, updates: Any) -> CommitTableResponse:
        name = _name(table.name())
        current = self.load_table(name)
        staged = self._update_and_stage_table(current, table.name(), requirements, updates)
        if staged.metadata == current.metadata:
            return CommitTableResponse(metadata=current.metadata, metadata_location=current.metadata_location)
        self._write_metadata(staged.metadata, staged.io, staged.metadata_location)
        if outside().interferes():
            self._touch(current)

        def swap() -> None:
            if outside().tables.get(name) != current.metadata_location:
                raise CommitFailedException(f"{name} has been updated by another process")
            outside().tables[name] = staged.metadata_location

        outside().call(f"commit {name}", swap, _LOST)
        return CommitTableResponse(metadata=staged.metadata, metadata_location=staged.metadata_location)

    def _touch(self, table: Table) -> None:
        """Another writer sets a property."""
        outside().world.note("another writer commits")
        change = SetPropertiesUpdate(updates={"comment": str(outside().world.events)})
        metadata = update_table_metadata(table.metadata, (change,))
        where = f"{table.metadata_location.removesuffix('.metadata.json')}-touched.metadata.json"
        outside().files[where] = metadata.model_dump_json().encode()
        outside().tables[_name(table.name())] = where

    def drop_table(self, identifier: Any) -> None:
        name = _name(identifier)
        outside().call(f"drop {name}", lambda: outside().tables.pop(name), [ServiceUnavailableError])

    def namespace_exists(self, namespace: Any) -> bool:
        return True

    def create_namespace(self, namespace: Any, properties: Any = None) -> None:
        raise NamespaceAlreadyExistsError(str(namespace))

    def _no(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    register_table = rename_table = drop_namespace = list_tables = list_namespaces = list_views = _no
    load_namespace_properties = update_namespace_properties = register_view = drop_view = load_view = _no
    view_exists = create_view = _no


def _name(identifier: Any) -> str:
    return identifier if isinstance(identifier, str) else ".".join(identifier)


class Disk:
    """The disk that a state directory is on."""

    def __init__(self) -> None:
        self.live, self.safe = MemoryState(), MemoryState()
        self.files = Path(mkdtemp(prefix="bitlake-simulated-"))
        weakref.finalize(self, shutil.rmtree, self.files, ignore_errors=True)
        self.unsynced: list[WriteBatch] = []
        self.holder: Process | None = None

    def open(self, world: World, process: Process) -> "SimulatedState":
        """Open the state; by one process at a time."""
        if self.holder is not None and not self.holder.dead and self.holder is not process:
            raise StateLocked(PLACE, self.holder.name)
        self.holder = process
        return SimulatedState(world, self)

    def write(self, batch: WriteBatch, *, durable: bool) -> None:
        """Do what a batch says."""
        self.live.write(batch, durable=durable)
        self.unsynced.append(batch)
        if durable:
            self.sync(len(self.unsynced))

    def sync(self, batches: int) -> None:
        """So many of the batches that are not on the disk yet get there."""
        for batch in self.unsynced[:batches]:
            self.safe.write(batch, durable=True)
        del self.unsynced[:batches]

    def cut_power(self, kept: int) -> None:
        """Only so many of the batches that were not on the disk yet are there afterwards."""
        self.sync(kept)
        self.unsynced, self.live = [], _copy(self.safe)

    def copy(self) -> "Disk":
        """As it is now."""
        other = Disk()
        other.live, other.safe = _copy(self.live), _copy(self.live)
        shutil.copytree(self.files, other.files, dirs_exist_ok=True)
        return other


def _copy(state: MemoryState) -> MemoryState:
    other, batch = MemoryState(), WriteBatch()
    rows = list(state.scan(b""))
    batch.put_many([key for key, _ in rows], [value for _, value in rows])
    other.write(batch, durable=True)
    return other


class SimulatedState:
    """A process's handle of its state; a `LocalState`."""

    def __init__(self, world: World, disk: Disk) -> None:
        self._world, self._disk, self._closed = world, disk, False

    @property
    def folder(self) -> Path:
        self._check()
        return self._disk.files

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self._check()
        return self._disk.live.get_many(keys)

    def write(self, batch: WriteBatch, *, durable: bool) -> None:
        self._check()
        self._world.pass_by("write state")
        if outside().disk_is_full():
            raise StateUnavailable(PLACE, "no space left on device")
        self._world.changes += 1
        self._disk.write(batch, durable=durable)
        self._world.pass_by("write state: done")

    def scan(self, prefix: bytes, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        self._check()
        return self._disk.live.scan(prefix, start)

    def size(self) -> StateSize:
        return self._disk.live.size()

    def close(self) -> None:
        self._world.check()
        if not self._closed:
            self._disk.holder = None
        self._closed = True

    def _check(self) -> None:
        self._world.check()
        assert not self._closed
