"""The Flink distribution as a cluster wants it: PyFlink's with jars, plugins and a configuration."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.errors import BadConfiguration
from stack import processes
from stack.downloads import jars
from stack.java import COMPILING, java, java_home
from stack.operators import operators
from stack.processes import Command
from stack.seaweedfs import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, SeaweedFS
from stack.server import HOST

PYTHON = "BITLAKE_FLINK_PYTHON"
"""Names the Python that PyFlink is installed for; else `.venv-all` beside this source, or our own."""
CHECKPOINTS = f"s3://{BUCKET}/flink/checkpoints"
"""Where jobs' checkpoints lie, where there is an object store."""
TASK_MANAGER_MEMORY = "taskmanager.memory.process.size"
_SOURCE = Path(__file__).parents[1]
_RESULT = "BASH_JAVA_UTILS_EXEC_RESULT:"
_MAIN = {
    "jobmanager": "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
    "taskmanager": "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
}
_PROMETHEUS = "org.apache.flink.metrics.prometheus.PrometheusReporterFactory"
_JAVA_OPTIONS = "env.java.opts"
CLUSTER = {
    "taskmanager.numberOfTaskSlots": "1",
    "taskmanager.memory.segment-size": "256kb",
    "taskmanager.memory.network.fraction": "0.2",
    "taskmanager.memory.managed.fraction": "0.3",
    "pekko.ask.timeout": "60s",
    f"{_JAVA_OPTIONS}.all": " ".join(COMPILING),
    "state.backend.type": "rocksdb",
    "execution.checkpointing.incremental": "true",
}
"""What every cluster of ours has, in Docker and Kubernetes too.

Buffers between tasks are eight times as large as usual: a subtask that is about to apply or to write a batch
takes nothing for a while, and with fewer bytes between them all others wait with it. A TaskManager that is
given twenty tasks for each of many datasets may take longer than ten seconds to answer.
"""
_LOGGING = _SOURCE / "jobs" / "log4j.properties"


@dataclass(frozen=True)
class FlinkOptions:
    """How large the processes are, and what is configured beside the usual.

    Attributes:
        task_manager_memory: of each TaskManager's whole process; Python workers are outside of it.
        task_managers: how many, and so the parallelism of a job that does not say its own.
        pinned: whether TaskManager N runs on processor N - 1 alone.
        settings: Flink's own options by their names.
    """

    task_managers: int = 1
    job_manager_memory: str = "1024m"
    task_manager_memory: str = "1728m"
    pinned: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


class FlinkHome:
    """The distribution as the cluster wants it: PyFlink's, our jars in lib/, S3 as a plugin, and conf/."""

    def __init__(
        self, folder: Path, ports: Mapping[str, int], options: FlinkOptions, files: SeaweedFS | None
    ) -> None:
        self.folder = folder.absolute()
        self._ports = ports
        self._options = options
        self._files = files

    @property
    def configuration(self) -> Path:
        """The folder of config.yaml."""
        return self.folder / "conf"

    @property
    def task_manager_memory(self) -> str:
        """Of each TaskManager's process."""
        return self._options.settings.get(TASK_MANAGER_MEMORY, self._options.task_manager_memory)

    def lay_out(self) -> None:
        """Make it anew: links and two files."""
        source = pyflink()
        for name in ("lib", "plugins", "opt", "bin"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        link_all(source / "lib", self.folder / "lib")
        link_all(source / "opt", self.folder / "opt")
        link_all(source / "bin", self.folder / "bin")
        link_all(source / "plugins", self.folder / "plugins")
        for jar in (source / "opt").glob("flink-python-*.jar"):  # for every job, and its native parts once
            (self.folder / "lib" / jar.name).symlink_to(jar)
        link_all(jars("flink-lib"), self.folder / "lib")
        (self.folder / "lib" / "bitlake-flink.jar").symlink_to(operators(source))
        link_all(jars("flink-s3"), self.folder / "plugins" / "s3-fs-hadoop")
        self.configuration.mkdir(exist_ok=True)
        lines = [f"{name}: {_quoted(value)}" for name, value in self.settings().items()]
        (self.configuration / "config.yaml").write_text("\n".join([*lines, ""]))
        shutil.copy(_LOGGING, self.configuration / "log4j.properties")

    def settings(self) -> dict[str, str]:
        """Flink's options."""
        python = str(flink_python())
        return {
            **CLUSTER,
            "jobmanager.rpc.address": HOST,
            "jobmanager.rpc.port": str(self._ports["rpc"]),
            "jobmanager.bind-host": HOST,
            "rest.address": HOST,
            "rest.bind-address": HOST,
            "rest.port": str(self._ports["rest"]),
            "taskmanager.host": HOST,
            "taskmanager.bind-host": HOST,
            "jobmanager.memory.process.size": self._options.job_manager_memory,
            TASK_MANAGER_MEMORY: self._options.task_manager_memory,
            "heartbeat.interval": "3000",
            "parallelism.default": str(self._options.task_managers),
            "env.java.home": str(java_home(21)),
            "python.executable": python,
            "python.client.executable": python,
            "metrics.reporter.prometheus.factory.class": _PROMETHEUS,
            **self._storage(),
            **self._options.settings,
        }

    def _storage(self) -> dict[str, str]:
        if self._files is None:
            place = (self.folder / "checkpoints").as_uri()
            return {"execution.checkpointing.dir": place, "execution.checkpointing.savepoint-dir": place}
        return {
            "s3.endpoint": self._files.s3,
            "s3.path.style.access": "true",
            "s3.access-key": ACCESS_KEY,
            "s3.secret-key": SECRET_KEY,
            "s3.endpoint.region": REGION,
            "execution.checkpointing.dir": CHECKPOINTS,
            "execution.checkpointing.savepoint-dir": f"s3://{BUCKET}/flink/savepoints",
        }

    def java(self, role: str, settings: Mapping[str, str], cpu: int | None = None) -> Command:
        """The command of a process of the cluster; `settings` are its own."""
        tool = f"GET_{'JM' if role == 'jobmanager' else 'TM'}_RESOURCE_PARAMS"
        own = [part for name, value in settings.items() for part in ("-D", f"{name}={value}")]
        java_options, *dynamic = self._resources(tool, own)
        argv = [
            java(),
            *java_options.split(),
            *opened(),
            *self._java_options(role),
            "-XX:+IgnoreUnrecognizedVMOptions",
            f"-Dlog4j.configurationFile=file:{self.configuration / 'log4j.properties'}",
            "-classpath",
            self._class_path(),
            _MAIN[role],
            "--configDir",
            str(self.configuration),
            *" ".join(dynamic).split(),
            *own,
        ]
        return Command(argv, self._environment(), cpu=cpu)

    def _java_options(self, role: str) -> list[str]:
        ours = self.settings()
        return [one for of in ("all", role) for one in ours.get(f"{_JAVA_OPTIONS}.{of}", "").split()]

    def _resources(self, tool: str, own: list[str]) -> list[str]:
        """What Flink's own calculator makes of the memory: options of Java, then of the process."""
        path = f"{self.folder / 'bin' / 'bash-java-utils.jar'}:{self._distribution()}"
        main = "org.apache.flink.runtime.util.bash.BashJavaUtils"
        quick = ["-Xshare:auto", "-XX:TieredStopAtLevel=1"]
        argv = [java(), *quick, "-cp", path, main, tool, "--configDir", str(self.configuration), *own]
        told = processes.run(Command(argv), self.folder)
        return [line.removeprefix(_RESULT) for line in told.splitlines() if line.startswith(_RESULT)]

    def _distribution(self) -> Path:
        return next((self.folder / "lib").glob("flink-dist-*.jar"))

    def _class_path(self) -> str:
        """Everything in lib/, Flink itself last, as its own scripts have it."""
        all_ = sorted((self.folder / "lib").glob("*.jar"))
        last = self._distribution()
        return ":".join(str(one) for one in [*(jar for jar in all_ if jar != last), last])

    def _environment(self) -> dict[str, str]:
        return {
            "FLINK_HOME": str(self.folder),
            "FLINK_CONF_DIR": str(self.configuration),
            "FLINK_LIB_DIR": str(self.folder / "lib"),
            "FLINK_OPT_DIR": str(self.folder / "opt"),
            "FLINK_PLUGINS_DIR": str(self.folder / "plugins"),
            "FLINK_BIN_DIR": str(self.folder / "bin"),
            "FLINK_LOG_DIR": str(self.folder),
            "AWS_REGION": REGION,
            # Python inside of a TaskManager's process knows nothing of environments.
            "PYTHONPATH": f"{pyflink().parent}:{_SOURCE}",
        }


def flink_python() -> Path:
    """The Python that has PyFlink.

    Raises:
        BadConfiguration: there is none.
    """
    named = os.environ.get(PYTHON)
    places = [Path(named)] if named else [_SOURCE / ".venv-all" / "bin" / "python"]
    found = next((one for one in places if one.exists()), None)
    if found is None:
        raise BadConfiguration(
            f"PyFlink is not installed: {places[0]} is not there.",
            next_step=f"Run `make venv-all`, or name a Python that has apache-flink in {PYTHON}.",
        )
    return found


def pyflink() -> Path:
    """The folder of the PyFlink distribution."""
    return _pyflink(flink_python())


@cache
def _pyflink(python: Path) -> Path:
    told = subprocess.run(
        [
            str(python),
            "-c",
            "import importlib.util as u; print(u.find_spec('pyflink').submodule_search_locations[0])",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode:
        raise BadConfiguration(
            f"{python} has no PyFlink.", next_step=f"Run `make venv-all`, or name another Python in {PYTHON}."
        )
    return Path(told.stdout.strip())


@cache
def opened() -> list[str]:
    """The parts of Java that Flink wants opened: from the configuration that comes with it."""
    text = (pyflink() / "conf" / "config.yaml").read_text()
    found = re.search(r"^\s*all: (--add-.*)$", text, re.MULTILINE)
    return found[1].split() if found else []


def link_all(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for one in source.iterdir():
        (target / one.name).symlink_to(one)


def _quoted(value: Any) -> str:
    return "'" + str(value).replace("'", "''") + "'"
