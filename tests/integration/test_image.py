"""Flink as the image has it, started by its entry point, without an image."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from stack.client import HOME, client
from stack.flink_home import flink_python, opened
from stack.image import lay_out
from stack.ports import free_ports
from stack.probes import asked
from tests.kafka_broker import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.long]
DOCKER = Path(__file__).parents[2] / "docker"


def java_options() -> list[str]:
    """What the Dockerfile says."""
    found = re.search(r'JDK_JAVA_OPTIONS="\\\n(.*?)"', (DOCKER / "Dockerfile").read_text(), re.DOTALL)
    assert found is not None
    return found[1].replace("\\\n", " ").split()


def test_jobs_are_submitted_with_the_flink_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME, "/opt/flink")
    python, environment = client()
    assert python == flink_python()
    assert environment["FLINK_HOME"] == "/opt/flink"
    assert environment["JDK_JAVA_OPTIONS"].split() == java_options()
    assert f"{HOME}=/opt/flink" in (DOCKER / "Dockerfile").read_text()


def test_a_job_manager_starts_from_the_images_home(tmp_path: Path) -> None:
    home, java = tmp_path / "flink", tmp_path / "java"
    lay_out(home, java)
    assert len([*(home / "lib").glob("bitlake-flink.jar")]) == 1
    assert java_options() == opened()
    conf = home / "conf"
    (conf / "log4j-console.properties").write_text((DOCKER.parent / "jobs" / "log4j.properties").read_text())
    rest, rpc, metrics = free_ports(3)
    settings = (DOCKER / "flink" / "config.yaml").read_text()
    settings = re.sub(r"(address|host): (jobmanager|0\.0\.0\.0)", r"\1: 127.0.0.1", settings)
    settings = re.sub(r"prometheus.port: \d+", f"prometheus.port: {metrics}", settings)
    (conf / "config.yaml").write_text(f"{settings}\nrest.port: {rest}\njobmanager.rpc.port: {rpc}\n")
    environment = {
        "FLINK_HOME": str(home),
        "JAVA_HOME": str(java),
        "JDK_JAVA_OPTIONS": " ".join(java_options()),
        "PATH": f"{home}/bin:{os.environ['PATH']}",
        "FLINK_LOG_DIR": str(tmp_path),
    }
    entry = str(DOCKER / "flink" / "docker-entrypoint.sh")
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen([entry, "jobmanager"], env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            wait_until(lambda: asked(f"http://127.0.0.1:{rest}/overview") is not None, "Flink to answer", 60)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    lines = [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
    assert {"timestamp", "level", "logger", "event"} <= json.loads(lines[0]).keys()
