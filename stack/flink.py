"""A Flink standalone cluster from the PyFlink distribution: a JobManager and TaskManagers of one slot."""

import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from stack.downloads import jars
from stack.flink_home import TASK_MANAGER_MEMORY, FlinkHome, pyflink
from stack.java import java
from stack.probes import asked
from stack.processes import Command
from stack.server import HOST, Server


class _FlinkServer(Server):
    """A process of the cluster.

    Args:
        name, folder, ports: as `Server` takes them.
        home: what it runs from; without one, it can't be started, only be asked.
    """

    def __init__(
        self, name: str, folder: Path, ports: Mapping[str, int], home: FlinkHome | None = None
    ) -> None:
        super().__init__(name, folder, ports)
        self._home = home

    @classmethod
    def fetch(cls) -> None:
        """Bring jars and Java; PyFlink comes with its environment."""
        jars("flink-lib")
        jars("flink-s3")
        java()
        pyflink()

    def addresses(self) -> dict[str, str]:
        """Prometheus's."""
        return {"metrics": f"http://{HOST}:{self.ports['metrics']}/"}

    @property
    def home(self) -> FlinkHome:
        """What it runs from."""
        assert self._home is not None
        return self._home

    @property
    def rest(self) -> str:
        """The address of the JobManager's REST API."""
        return f"http://{HOST}:{self.ports['rest']}"

    @property
    def settings(self) -> dict[str, str]:
        """Flink's options that are its own."""
        return {
            "io.tmp.dirs": str(self.folder),
            "metrics.reporter.prometheus.port": str(self.ports["metrics"]),
        }


class JobManager(_FlinkServer):
    """The cluster's head, with its REST API."""

    kind = "flink-jobmanager"
    own_ports: ClassVar[tuple[str, ...]] = ("rest", "rpc", "metrics")

    def __init__(
        self,
        name: str,
        folder: Path,
        ports: Mapping[str, int],
        home: FlinkHome | None = None,
        *,
        home_in_use: bool = False,
    ) -> None:
        super().__init__(name, folder, ports, home)
        self._home_in_use = home_in_use

    def prepare(self) -> None:
        """Lay Flink's home out, unless TaskManagers run from it."""
        if not self._home_in_use:
            self.home.lay_out()
        self._home_in_use = True

    def command(self) -> Command:
        """A session cluster's JobManager."""
        return self.home.java("jobmanager", self.settings | {"web.tmpdir": str(self.folder)})

    def healthy(self) -> bool:
        """Whether the REST API answers."""
        return asked(f"{self.rest}/overview") is not None

    def addresses(self) -> dict[str, str]:
        """The REST API's, that has the web page as well, and Prometheus's."""
        return {"rest": self.rest, **super().addresses()}


class TaskManager(_FlinkServer):
    """One slot."""

    kind = "flink-taskmanager"
    own_ports: ClassVar[tuple[str, ...]] = ("metrics",)

    def __init__(
        self,
        name: str,
        folder: Path,
        ports: Mapping[str, int],
        home: FlinkHome | None = None,
        cpu: int | None = None,
    ) -> None:
        super().__init__(name, folder, ports, home)
        self._cpu = cpu
        self.memory = home.task_manager_memory if home else ""

    def prepare(self) -> None:
        """Each start has a name of its own: the JobManager may still remember the last one."""
        for left in self.folder.glob("tm_*"):
            shutil.rmtree(left, ignore_errors=True)
        (self.folder / "resource-id").write_text(f"{self.name}-{uuid.uuid4().hex[:8]}")

    def command(self) -> Command:
        """A TaskManager of the JobManager."""
        return self.home.java("taskmanager", self.settings, self._cpu)

    @property
    def settings(self) -> dict[str, str]:
        """Its name, and its memory: config.yaml may be of a time when TaskManagers were given another."""
        own = {"taskmanager.resource-id": self.resource, TASK_MANAGER_MEMORY: self.memory}
        return super().settings | own

    def healthy(self) -> bool:
        """Whether the JobManager counts it in."""
        told = asked(f"{self.rest}/taskmanagers") or {}
        return self.resource in [one["id"] for one in told.get("taskmanagers", [])]

    @property
    def resource(self) -> str:
        """What the JobManager calls it."""
        return (self.folder / "resource-id").read_text()
