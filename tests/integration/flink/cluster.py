"""A cluster of its own whose servers are killed, with a catalog and an object store behind bad lines."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import requests

from pipeline.flink.cluster import Cluster
from stack import processes
from stack.control import Background
from stack.flink import JobManager
from stack.flink_home import FlinkOptions
from stack.plan import Wanted
from stack.seaweedfs import SeaweedFS
from tests.kafka_broker import wait_until
from tests.proxy import Proxy

_SOON = {
    "heartbeat.interval": "1000",
    "heartbeat.timeout": "60000",
    "execution.checkpointing.timeout": "30s",
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "1000",
    "restart-strategy.fixed-delay.delay": "500ms",
}
"""What is lost is missed soon, and the job goes on soon."""


@dataclass
class FaultyCluster:
    """The cluster.

    Attributes:
        stack: its servers.
        wanted: all of them.
        catalog, store: the lines to the catalog and to the object store.
    """

    stack: Background
    wanted: Wanted
    catalog: Proxy
    store: Proxy

    @property
    def flink(self) -> Cluster:
        return flink_of(self.stack)

    def settings(self) -> dict[str, Any]:
        """More of a lake.yaml: servers behind their lines."""
        catalog = self.stack.server(SeaweedFS).rest_catalog
        lines = {"uri": self.catalog.url, "s3.endpoint": self.store.url}
        return {"catalog": {"name": "lake", **catalog, **lines}, "flink": _SOON}

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        """Kill a server by its name, as if its machine had failed."""
        (server,) = (one for one in self.stack.servers() if one.name == name)
        assert server.pid is not None
        os.kill(server.pid, how)
        if how is signal.SIGKILL:
            wait_until(lambda: self._health(name) == "ended", f"{name} to end")

    def _health(self, name: str) -> str:
        return next(one.health for one in self.stack.servers() if one.name == name)

    def worker(self, job: str) -> str:
        """The name of a TaskManager that works for a job."""
        url = self.stack.server(JobManager).rest
        vertices = requests.get(f"{url}/jobs/{job}", timeout=30).json()["vertices"]
        told = requests.get(f"{url}/jobs/{job}/vertices/{vertices[0]['id']}", timeout=30).json()
        resource = told["subtasks"][0]["taskmanager-id"]
        return str(resource.rpartition("-")[0])

    def jobs(self, name: str) -> list[str]:
        """The states of the jobs of a name, the ended ones too."""
        told = requests.get(f"{self.stack.server(JobManager).rest}/jobs/overview", timeout=30).json()["jobs"]
        return [job["state"] for job in told if job["name"] == name]

    def mend(self) -> None:
        """Everything is there again."""
        for proxy in (self.catalog, self.store):
            proxy.flow()
            proxy.come_back()
        self.stack.up(self.wanted)

    def checkpoints(self, job: str) -> dict[str, int]:
        """How many checkpoints of a job are completed, in progress, ..."""
        url = f"{self.stack.server(JobManager).rest}/jobs/{job}/checkpoints"
        return dict(requests.get(url, timeout=30).json()["counts"])


@contextmanager
def faulty_cluster(folder: Path, task_managers: int) -> Iterator[FaultyCluster]:
    """A cluster of so many TaskManagers that ends with the block."""
    stack = Background(folder, processes.identity(os.getpid()))
    servers = Wanted(("kafka", "seaweedfs"))
    flink = Wanted(("kafka", "seaweedfs", "flink"))
    flink.fetch()
    try:
        stack.up(servers)
        files = stack.server(SeaweedFS)
        with _line(files.iceberg) as catalog, _line(files.s3) as store:
            options = FlinkOptions(
                task_managers=task_managers,
                task_manager_memory="1400m",
                settings={"s3.endpoint": store.url, **_SOON},
            )
            cluster = FaultyCluster(stack, Wanted(flink.only, flink=options), catalog, store)
            stack.up(cluster.wanted)
            yield cluster
    finally:
        stack.down()


def _line(url: str) -> Proxy:
    address = urlparse(url)
    return Proxy((str(address.hostname), int(address.port or 80)))


def clear(cluster: FaultyCluster) -> None:
    """Ready for the next test, whatever became of the last one."""
    cluster.mend()
    cancel_all(cluster.flink)


def flink_of(stack: Background) -> Cluster:
    return Cluster(stack.sections()["flink"])


def cancel_all(cluster: Cluster) -> None:
    for left in cluster.running():
        cluster.cancel(left)
        cluster.wait(left)
