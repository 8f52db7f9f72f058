"""Processes that are meant by more than their pid, and that end with their parent."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import Unavailable
from stack import processes
from stack.processes import Command, Identity
from tests.kafka_broker import wait_until

SLEEP = Command(["sleep", "600"])


@pytest.fixture
def foreign() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def test_a_pid_that_is_another_process_by_now_is_left_alone(foreign: subprocess.Popen[bytes]) -> None:
    found = processes.identity(foreign.pid)
    assert found is not None
    assert found.alive
    old = Identity(found.pid, found.started - 1)
    assert not old.alive
    old.signal(signal.SIGKILL)
    old.end(1)
    assert foreign.poll() is None
    found.end(10)
    assert foreign.wait(10) == -signal.SIGTERM
    assert not found.alive


def test_what_a_server_started_is_swept_and_others_are_not(
    tmp_path: Path, foreign: subprocess.Popen[bytes]
) -> None:
    script = "sleep 600 & exec true"  # the server ends, what it started goes on
    for name in ("one", "one-more"):
        (tmp_path / name).mkdir()
        process = processes.start(Command(["sh", "-c", script]), tmp_path / name, tmp_path / name / "log")
        assert process.wait(30) == 0
    assert len(list(processes.marked(tmp_path))) == 2
    processes.sweep(tmp_path / "one")
    assert not list(processes.marked(tmp_path / "one"))
    assert len(list(processes.marked(tmp_path / "one-more"))) == 1
    processes.sweep(tmp_path)
    assert not list(processes.marked(tmp_path))
    assert foreign.poll() is None


def test_a_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from stack import processes\n"
        "folder = Path(sys.argv[1]); command = processes.Command(['sleep', '600'])\n"
        "print(processes.start(command, folder, folder / 'log').pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        server = processes.identity(int(parent.stdout.readline()))
        assert server is not None
        assert server.alive
        parent.kill()
    wait_until(lambda: not server.alive, "the server to end", 30)


@pytest.mark.skipif(os.getuid() != 0, reason="only root is refused by PostgreSQL")
def test_a_program_that_refuses_root_runs_as_another_user(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("mine")
    own.chmod(0o600)
    printed = processes.run(
        Command(["sh", "-c", f"id -u; cat {own}; id -u > {tmp_path}/new"], root=False), tmp_path
    )
    assert printed.split() == ["1000", "mine"]
    assert (tmp_path / "new").stat().st_uid == 0


def test_a_tool_that_fails_says_why_and_not_where_in_its_code(tmp_path: Path) -> None:
    script = "printf 'the sum is too large\\n\\tat org.Calculator.sum\\ncaused by x' >&2; exit 1"
    with pytest.raises(Unavailable) as caught:
        processes.run(Command(["/bin/sh", "-c", script]), tmp_path)
    assert caught.value.message == "sh failed: the sum is too large"
