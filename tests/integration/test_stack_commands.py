"""`bitlake stack`: what a user does with it, and that nothing is left over, whatever happens."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from stack import processes
from stack.control import Background
from stack.processes import Identity
from tests.kafka_broker import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.long]

QUICK = ("--only", "seaweedfs,postgres")
"""The servers that start in a moment."""


class Place:
    """A folder with a stack, used by the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = folder / ".bitlake" / "stack"

    def command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).with_name("bitlake")), "stack", *arguments]

    def run(self, *arguments: str, fails: bool = False) -> str:
        """What a command prints, or its error."""
        done = self._done(*arguments)
        assert done.returncode == (1 if fails else 0), done.stderr
        return done.stderr if fails else done.stdout

    def said(self, *arguments: str) -> str:
        """What a command that succeeds says on standard error."""
        done = self._done(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """A command in the background."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _done(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def rows(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """What `up` or `status` says, by server."""
        return {row["server"]: row for row in json.loads(self.run(*arguments, "--output", "json"))}

    def left(self) -> list[Identity]:
        return list(processes.marked(self.stack))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    here = Place(tmp_path)
    yield here
    Background(here.stack).down()


def _health(rows: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: row["health"] for name, row in rows.items()}


def test_from_up_to_down(place: Place) -> None:
    assert _health(place.rows("status")) == {}
    first = place.rows("up", *QUICK, "--catalog", "postgres")
    assert _health(first) == {"seaweedfs": "healthy", "postgres": "healthy"}
    address = first["postgres"]["addresses"]["sql"].replace("//", "//bitlake:bitlake-secret@")
    _execute(address, "create table kept (n int)")

    assert place.rows("up", *QUICK, "--catalog", "postgres") == first  # nothing to do

    os.kill(first["postgres"]["pid"], signal.SIGKILL)
    wait_until(
        lambda: _health(place.rows("status")) == {"seaweedfs": "healthy", "postgres": "ended"},
        "the end to be seen",
    )
    again = place.rows("up", *QUICK, "--catalog", "postgres")
    assert again["seaweedfs"] == first["seaweedfs"]
    assert again["postgres"]["pid"] != first["postgres"]["pid"]
    _execute(address, "insert into kept values (1)")
    assert "database system is ready" in place.run("logs", "postgres", "--lines", "200")

    assert place.rows("up", "--only", "seaweedfs") == again  # nothing is stopped by this
    assert place.rows("up") == again
    assert place.rows("down", "--only", "seaweedfs") == {"postgres": again["postgres"]}
    assert json.loads(place.run("down", "--output", "json")) == {"stopped": True}
    assert not place.left()
    assert json.loads(place.run("down", "--output", "json")) == {"stopped": False}
    assert place.rows("status") == {}

    assert place.rows("up", *QUICK)["postgres"]["addresses"] == first["postgres"]["addresses"]
    _execute(address, "insert into kept values (2)")
    place.run("down", "--delete-data")
    assert not place.stack.exists()


def _execute(address: str, statement: str) -> None:
    connection = psycopg2.connect(address)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def test_the_lake_that_fits_is_written(place: Place) -> None:
    place.run("up", "--only", "seaweedfs")
    lake = place.folder / "lake.yaml"
    assert "type: rest" in lake.read_text()
    record = '{"isin": "A", "effective": {"from": "2024-01-01"}, "issuer": "x"}\n'
    bitlake = place.command()[0]
    for arguments in (["load", "bonds", "-"], ["asof", "bonds", "--output", "json"]):
        done = subprocess.run(
            [bitlake, *arguments], cwd=place.folder, input=record, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["issuer"] == "x"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_in_the_foreground_servers_end_with_the_command(place: Place, how: signal.Signals) -> None:
    with subprocess.Popen(
        place.command("up", *QUICK, "--foreground", "--output", "json"),
        cwd=place.folder,
        stdout=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout is not None
        servers = json.loads(command.stdout.readline())
        assert [row["health"] for row in servers] == ["healthy", "healthy"]
        assert "Another process" in place.run("up", *QUICK, "--foreground", fails=True)
        command.send_signal(how)
        ended = command.wait(60)
    assert ended == {signal.SIGINT: 130, signal.SIGTERM: 0, signal.SIGKILL: -signal.SIGKILL}[how]
    wait_until(lambda: not place.left(), "all processes to end", 30)


def test_the_supervisor_is_killed(place: Place) -> None:
    first = place.rows("up", "--only", "postgres")
    supervisor = Background(place.stack).supervisor
    assert supervisor is not None
    supervisor.signal(signal.SIGKILL)
    wait_until(lambda: not place.left(), "all processes to end", 30)
    assert _health(place.rows("status")) == {"postgres": "ended"}
    assert _health(place.rows("up", "--only", "postgres")) == {"postgres": "healthy"}
    assert place.rows("status")["postgres"]["addresses"] == first["postgres"]["addresses"]


def test_down_spares_a_process_that_has_a_pid_of_before(place: Place) -> None:
    place.run("up", "--only", "postgres")
    state = json.loads((place.stack / "state.json").read_text())
    place.run("down")
    with subprocess.Popen(["sleep", "600"]) as foreign:
        state["owner"]["pid"] = state["servers"][0]["process"]["pid"] = foreign.pid
        (place.stack / "state.json").write_text(json.dumps(state))
        assert _health(place.rows("status")) == {"postgres": "ended"}
        assert json.loads(place.run("down", "--output", "json")) == {"stopped": False}
        assert foreign.poll() is None
        foreign.kill()


def test_a_server_that_does_not_start_says_why(place: Place) -> None:
    data = place.stack / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("7\n")
    said = place.run("up", *QUICK, fails=True)
    assert "postgres has ended" in said
    assert str(place.stack / "postgres" / "log") in said
    assert _health(place.rows("status")) == {"seaweedfs": "healthy", "postgres": "ended"}


def test_a_stack_bound_to_a_process_ends_with_it(place: Place) -> None:
    script = (
        "import os, sys; from pathlib import Path; from stack.control import Background\n"
        "from stack.plan import Wanted; from stack import processes\n"
        "Background(Path(sys.argv[1]), processes.identity(os.getpid())).up(Wanted(('postgres',)))"
    )
    subprocess.run([sys.executable, "-c", script, str(place.stack)], check=True, timeout=120)
    wait_until(lambda: not place.left(), "all processes to end", 60)
    wait_until(lambda: Background(place.stack).supervisor is None, "the supervisor to end", 60)


def test_commands_at_once_take_turns(place: Place) -> None:
    ups = [place.begin("up", "--only", only) for only in ("seaweedfs", "postgres")]
    said = [up.communicate(timeout=120)[1] for up in ups]
    assert [up.returncode for up in ups] == [0, 0], said
    assert sum("waits until it is done" in one for one in said) == 1
    assert _health(place.rows("status")) == {"seaweedfs": "healthy", "postgres": "healthy"}

    place.run("down", "--only", "postgres")
    up = place.begin("up", "--only", "postgres")
    assert up.stderr is not None
    assert "Starting" in up.stderr.readline()
    down = place.run("down", "--delete-data", "--output", "json")
    assert json.loads(down) == {"stopped": True, "deleted": True}
    up.communicate(timeout=60)
    assert up.returncode == 0
    assert not place.left()
    assert not place.stack.exists()


def test_a_tool_that_fails_ends_no_other_server(place: Place) -> None:
    first = place.rows("up", "--only", "seaweedfs")
    (place.stack / "postgres" / "data" / "foreign").mkdir(parents=True)
    said = place.run("up", "--only", "postgres", fails=True)
    assert "initdb failed" in said
    assert "not empty" in said
    assert place.rows("status")["seaweedfs"] == first["seaweedfs"]


def test_what_another_command_asks_for_in_vain_does_not_end_the_one_in_the_foreground(place: Place) -> None:
    with place.begin("up", "--only", "postgres", "--foreground", "--output", "json") as command:
        assert command.stdout is not None
        command.stdout.readline()
        (place.stack / "seaweedfs").write_text("")
        assert "FileExistsError" in place.run("up", "--only", "seaweedfs", fails=True)
        assert place.rows("status")["postgres"]["health"] == "healthy"
        command.terminate()


def test_another_catalog_is_told(place: Place) -> None:
    assert "catalog" not in place.said("up", "--only", "seaweedfs")
    assert "tables of the rest catalog are not in it" in place.said("up", "--catalog", "postgres")
    assert "type: sql" in (place.folder / "lake.yaml").read_text()
    assert "catalog" not in place.said("up")


def test_more_memory_is_for_task_managers_that_are_started(place: Place) -> None:
    place.run("up", "--only", "flink", "--task-manager-memory", "1g")
    said = place.said("up", "--task-manager-memory", "1200m", "--task-managers", "2")
    assert "flink-taskmanager-1 (1g)" in said
    assert "flink-taskmanager-2" not in said
    rows = place.rows("status")
    first, second = (_direct_memory(rows[f"flink-taskmanager-{number}"]["pid"]) for number in (1, 2))
    assert 0 < first < second
    os.kill(rows["flink-taskmanager-1"]["pid"], signal.SIGKILL)
    wait_until(lambda: _health(place.rows("status"))["flink-taskmanager-1"] == "ended", "the end to be seen")
    assert _direct_memory(place.rows("up")["flink-taskmanager-1"]["pid"]) == second


def _direct_memory(pid: int) -> int:
    """The bytes that Java was given beside its heap: they grow with the whole."""
    option = b"-XX:MaxDirectMemorySize="
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return next(int(word.removeprefix(option)) for word in words if word.startswith(option))
