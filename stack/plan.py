"""Which servers a stack has, and how they know each other."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from pipeline.errors import BadInput
from stack.flink import JobManager, TaskManager
from stack.flink_home import FlinkHome, FlinkOptions
from stack.kafka import Broker, BrokerOptions
from stack.ports import Ports
from stack.postgres import PostgreSQL
from stack.seaweedfs import SeaweedFS
from stack.server import Server
from stack.trino import Trino

_PARTS: Mapping[str, type[Server]] = {
    "kafka": Broker,
    "seaweedfs": SeaweedFS,
    "postgres": PostgreSQL,
    "flink": JobManager,
    "trino": Trino,
}
ALL = tuple(_PARTS)
"""What `--only` chooses from."""
USUAL = tuple(name for name in ALL if name != "postgres")
"""What runs when nothing is chosen: PostgreSQL is the other catalog."""
_ALL_KINDS: tuple[type[Server], ...] = (*_PARTS.values(), TaskManager)
KINDS: Mapping[str, type[Server]] = {one.kind: one for one in _ALL_KINDS}
_Kind = TypeVar("_Kind", bound=Server)


class Catalog(StrEnum):
    """Where the lake's tables are listed."""

    REST = "rest"
    POSTGRES = "postgres"


@dataclass(frozen=True)
class Wanted:
    """What should run.

    Attributes:
        only: names out of `ALL`.
        catalog: the lake's: REST, which SeaweedFS has, or PostgreSQL with the tables' files in SeaweedFS.
    """

    only: tuple[str, ...] = USUAL
    catalog: Catalog = Catalog.REST
    kafka: BrokerOptions = field(default_factory=BrokerOptions)
    flink: FlinkOptions = field(default_factory=FlinkOptions)
    trino_heap: str = "2g"

    def __post_init__(self) -> None:
        unknown = [name for name in self.only if name not in ALL]
        if unknown:
            raise BadInput(
                f"No server is called {', '.join(unknown)}.", next_step=f"There are {', '.join(ALL)}."
            )

    def with_options_of(self, other: "Wanted") -> "Wanted":
        """These servers, as many TaskManagers, and otherwise the options of another."""
        flink = replace(other.flink, task_managers=self.flink.task_managers)
        return replace(other, only=self.only, flink=flink)

    def written(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> "Wanted":
        """From plain values."""
        return cls(
            tuple(written["only"]),
            Catalog(written["catalog"]),
            BrokerOptions(**written["kafka"]),
            FlinkOptions(**written["flink"]),
            written["trino_heap"],
        )

    def fetch(self) -> None:
        """Bring what the servers are made of into the cache."""
        for name in self.only:
            _PARTS[name].fetch()


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names out of `ALL`, as servers start."""
    return tuple(sorted(names, key=ALL.index))


def lay_out(wanted: Wanted, folder: Path, ports: Ports, running: Mapping[str, Server]) -> dict[str, Server]:
    """The servers by name, in the order in which they start; one that runs already is taken as it is."""
    plan = _Plan(folder, ports, running)
    if "kafka" in wanted.only:
        plan.add("kafka", Broker, options=wanted.kafka)
    files = plan.add("seaweedfs", SeaweedFS) if "seaweedfs" in wanted.only else None
    postgres = plan.add("postgres", PostgreSQL) if "postgres" in wanted.only else None
    if "flink" in wanted.only:
        plan.add_flink(wanted.flink, files)
    if "trino" in wanted.only:
        plan.add("trino", Trino, heap=wanted.trino_heap, files=files, postgres=postgres)
    return plan.servers


class _Plan:
    def __init__(self, folder: Path, ports: Ports, running: Mapping[str, Server]) -> None:
        self._folder = folder
        self._ports = ports
        self._running = running
        self.servers: dict[str, Server] = {}

    def add(self, name: str, kind: type[_Kind], known: Mapping[str, int] | None = None, **more: Any) -> _Kind:
        runs = self._running.get(name)
        if isinstance(runs, kind):
            server = runs
        else:
            own = self._ports.of(name, kind.own_ports)
            server = kind(name, self._folder / name, {**own, **(known or {})}, **more)
        self.servers[name] = server
        return server

    def add_flink(self, options: FlinkOptions, files: SeaweedFS | None) -> None:
        ports = self._ports.of(JobManager.kind, JobManager.own_ports, runs=JobManager.kind in self._running)
        home = FlinkHome(self._folder / "flink", ports, options, files)
        in_use = any(isinstance(server, TaskManager) for server in self._running.values())
        self.add(JobManager.kind, JobManager, home=home, home_in_use=in_use)
        known = {"rest": ports["rest"]}
        for number in range(options.task_managers):
            cpu = number if options.pinned else None
            self.add(f"{TaskManager.kind}-{number + 1}", TaskManager, known, home=home, cpu=cpu)
