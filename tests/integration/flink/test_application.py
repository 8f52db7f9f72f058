"""The job as an application, as docker/kubernetes/flink-application.yaml runs it, without an image."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stack.control import Background
from stack.flink_home import flink_python, pyflink
from stack.image import lay_out
from stack.ports import free_ports
from stack.seaweedfs import SeaweedFS
from tests.faults.runs import BONDS
from tests.integration.flink.place import FlinkPlace
from tests.integration.test_image import java_options

pytestmark = [pytest.mark.servers, pytest.mark.long]
ROOT = Path(__file__).parents[3]
DOCKER = ROOT / "docker"


class Application:
    """A cluster of the image's Flink for one job: a JobManager with the job's main, and a TaskManager."""

    def __init__(self, folder: Path, files: SeaweedFS) -> None:
        self.folder, self.home = folder, folder / "flink"
        lay_out(self.home, folder / "java")
        log4j = (ROOT / "jobs" / "log4j.properties").read_text()
        (self.home / "conf" / "log4j-console.properties").write_text(log4j)
        self.rest, rpc, jobs, tasks = free_ports(4)
        self.metrics = {"standalone-job": jobs, "taskmanager": tasks}
        text = (DOCKER / "flink" / "config.yaml").read_text()
        text = re.sub(r"(address|host): (jobmanager|0\.0\.0\.0)", r"\1: 127.0.0.1", text)
        text = text.replace("http://seaweedfs:8333", files.s3).replace(
            "/usr/local/bin/python3", str(flink_python())
        )
        ports = f"\nrest.port: {self.rest}\njobmanager.rpc.port: {rpc}\ntaskmanager.host: 127.0.0.1\n"
        self.settings = text + ports
        (self.manifest,) = YAML(typ="safe").load_all(DOCKER / "kubernetes" / "flink-application.yaml")
        (container,) = self.manifest["spec"]["podTemplate"]["spec"]["containers"]
        self.environment = {one["name"]: one["value"] for one in container["env"]}

    @contextmanager
    def process(self, script: str, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A process of it by the image's entry point."""
        conf = self.folder / f"conf-{script}"
        conf.mkdir(exist_ok=True)
        for file in (self.home / "conf").iterdir():
            (conf / file.name).write_bytes(file.read_bytes())
        settings = re.sub(r"prometheus.port: \d+", f"prometheus.port: {self.metrics[script]}", self.settings)
        (conf / "config.yaml").write_text(settings)
        environment = {
            **os.environ,
            "FLINK_HOME": str(self.home),
            "FLINK_CONF_DIR": str(conf),
            "FLINK_LOG_DIR": str(self.folder),
            "JAVA_HOME": str(self.folder / "java"),
            "JDK_JAVA_OPTIONS": " ".join(java_options()),
            "PATH": f"{self.home}/bin:{os.environ['PATH']}",
            "PYTHONPATH": f"{pyflink().parent}:{ROOT}",
            "AWS_REGION": "us-east-1",
            **self.environment,
        }
        command = [str(DOCKER / "flink" / "docker-entrypoint.sh"), f"{script}.sh", "start-foreground", *words]
        with (
            (self.folder / f"{script}.log").open("ab") as log,
            subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self.folder) as process,
        ):
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.terminate()

    def run(self, lake: Path) -> int:
        """Run the job of a lake.yaml to the end of its topics; the JobManager's exit status."""
        job = self.manifest["spec"]["job"]
        given = {"/usr/local/bin/python3": str(flink_python()), "/lake/lake.yaml": str(lake)}
        arguments = [given.get(word, word) for word in job["args"]]
        with ExitStack() as stack:
            words = ["--job-classname", job["entryClass"], *arguments, "--until-end", "--take-over"]
            main = stack.enter_context(self.process("standalone-job", *words))
            stack.enter_context(self.process("taskmanager"))
            return main.wait(240)


def test_the_job_runs_as_an_application(stack: Background, tmp_path: Path) -> None:
    place = FlinkPlace(tmp_path, stack, BONDS | {"on_new_field": "ignore"}, seed=61)
    application = Application(tmp_path, stack.server(SeaweedFS))
    file = tmp_path / "lake.yaml"
    content = json.loads(file.read_text())
    content["flink"] |= {"rest.address": "elsewhere", "rest.port": application.rest}
    file.write_text(json.dumps(content))
    for _ in range(2):  # the second goes on from the tables
        place.topic.grow(60)
        status = application.run(file)
        assert status == 0, (tmp_path / "standalone-job.log").read_text()[-3000:]
        place.check()
