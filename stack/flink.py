"""A Flink standalone cluster from the PyFlink distribution: a JobManager and TaskManagers of one slot."""

import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from stack.downloads import jars
from stack.flink_home import FlinkHome, pyflink
from stack.java import java
from stack.probes import asked
from stack.processes import Command
from stack.server import HOST, Server


class JobManager(Server):
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
        super().__init__(name, folder, ports)
        self._home = home
        self._home_in_use = home_in_use

    @classmethod
    def fetch(cls) -> None:
        """Bring jars and Java; PyFlink comes with its environment."""
        jars("flink-lib")
        jars("flink-s3")
        java()
        pyflink()

    def prepare(self) -> None:
        """Lay Flink's home out, unless TaskManagers run from it."""
        assert self._home is not None
        if not self._home_in_use:
            self._home.lay_out()
        self._home_in_use = True

    def command(self) -> Command:
        """A session cluster's JobManager."""
        assert self._home is not None
        settings = {
            "io.tmp.dirs": str(self.folder),
            "web.tmpdir": str(self.folder),
            "metrics.reporter.prometheus.port": str(self.ports["metrics"]),
        }
        return self._home.java("jobmanager", settings)

    def healthy(self) -> bool:
        """Whether the REST API answers."""
        return asked(f"{self.rest}/overview") is not None

    def addresses(self) -> dict[str, str]:
        """The REST API's, that has the web page as well, and Prometheus's."""
        return {"rest": self.rest, "metrics": f"http://{HOST}:{self.ports['metrics']}/"}

    @property
    def rest(self) -> str:
        """The address of the REST API."""
        return f"http://{HOST}:{self.ports['rest']}"


class TaskManager(Server):
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
        super().__init__(name, folder, ports)
        self._home = home
        self._cpu = cpu

    @classmethod
    def fetch(cls) -> None:
        """As the JobManager."""
        JobManager.fetch()

    def prepare(self) -> None:
        """Each start has a name of its own: the JobManager may still remember the last one."""
        for left in self.folder.glob("tm_*"):
            shutil.rmtree(left, ignore_errors=True)
        (self.folder / "resource-id").write_text(f"{self.name}-{uuid.uuid4().hex[:8]}")

    def command(self) -> Command:
        """A TaskManager of the JobManager."""
        assert self._home is not None
        settings = {
            "taskmanager.resource-id": self.resource,
            "io.tmp.dirs": str(self.folder),
            "metrics.reporter.prometheus.port": str(self.ports["metrics"]),
        }
        return self._home.java("taskmanager", settings, self._cpu)

    def healthy(self) -> bool:
        """Whether the JobManager counts it in."""
        told = asked(f"http://{HOST}:{self.ports['rest']}/taskmanagers") or {}
        return self.resource in [one["id"] for one in told.get("taskmanagers", [])]

    def addresses(self) -> dict[str, str]:
        """Prometheus's."""
        return {"metrics": f"http://{HOST}:{self.ports['metrics']}/"}

    @property
    def resource(self) -> str:
        """What the JobManager calls it."""
        return (self.folder / "resource-id").read_text()
