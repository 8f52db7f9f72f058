"""`bitlake stack` without servers: what it refuses, and what it says."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from pipeline.cli.main import main
from stack import memory, processes
from stack.asked import Asked
from stack.control import Background, Known
from stack.flink_home import FlinkOptions
from stack.plan import Catalog, Wanted
from tests.kafka_broker import wait_until


@dataclass
class Result:
    """What a command line left behind."""

    status: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Runs `bitlake stack` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(*words: str) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["stack", *words])
        out, err = capfd.readouterr()
        return Result(int(ended.value.code or 0), out, err)

    yield run
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["up", "--only", ""], "names no server. There are kafka,"),
        (["up", "--only", " , "], "names no server"),
        (["down", "--only", ""], "names no server"),
        (["down", "--only", "", "--delete-data"], "names no server"),
        (["up", "--only", "kafka,kafak"], "'kafak': did you mean 'kafka'? There are kafka, seaweedfs,"),
        (["down", "--only", "nonsense"], "'nonsense'. There are kafka, seaweedfs,"),
        (["up", "--task-manager-memory", "2"], "such as 1g"),
        (["up", "--task-manager-memory", "much"], "such as 1g"),
        (["up", "--task-manager-memory", "1.5g"], "such as 1g"),
        (["up", "--task-manager-memory", "-1g"], "such as 1g"),
        (["up", "--task-manager-memory", "1023m"], "write 1g or more"),
        (["up", "--task-manager-memory", "900t"], "write that or less"),
        (["up", "--trino-memory", "0g"], "write 512m or more"),
        (["up", "--trino-memory", "900t"], "write that or less"),
        (["up", "--trino-memory", ""], "such as 512m"),
        (["up", "--task-managers", "900000"], "or a smaller --task-manager-memory"),
    ],
)
def test_wrong_usage_is_2(stack: Run, words: list[str], told: str) -> None:
    result = stack(*words)
    assert result.status == 2
    assert told in " ".join(result.err.replace("│", " ").split())
    assert words[1] in result.err
    assert not Background(Path(".bitlake/stack")).servers()


def test_sizes_as_java_and_flink_both_take_them() -> None:
    assert [memory.normal(one) for one in ("1728m", "2G", "2 gb", "0512MB", "1t", "9k")] == [
        "1728m",
        "2g",
        "2g",
        "512m",
        "1t",
        "9k",
    ]
    assert memory.size("2g") == 2 << 30
    assert memory.spelled(memory.size("1728m")) == "1728m"


def test_task_managers_may_not_want_more_than_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine", lambda: 4 << 30)
    assert Asked(task_managers=2).beside(None).flink.task_managers == 2
    with pytest.raises(typer.BadParameter, match="write 2 or less"):
        Asked(task_managers=3).beside(None)
    with pytest.raises(typer.BadParameter, match="write 1 or less"):
        Asked(task_manager_memory="3g").beside(Wanted(flink=FlinkOptions(2)))


@pytest.mark.parametrize(
    ("asked", "only"),
    [
        (Asked(), ("kafka",)),
        (Asked(("seaweedfs", "seaweedfs")), ("kafka", "seaweedfs")),
        (Asked(task_managers=2), ("kafka", "flink")),
        (Asked(task_manager_memory="2g"), ("kafka", "flink")),
        (Asked(trino_memory="2g"), ("kafka", "trino")),
        (Asked(catalog=Catalog.POSTGRES), ("kafka", "seaweedfs", "postgres")),
    ],
)
def test_what_was_asked_for_runs_beside_what_runs(asked: Asked, only: tuple[str, ...]) -> None:
    assert asked.beside(Wanted(("kafka",))).only == only


def test_what_was_not_asked_for_stays_as_it_is() -> None:
    runs = Wanted(flink=FlinkOptions(2, task_manager_memory="2g"), trino_heap="3g")
    assert Asked().beside(runs) == runs
    assert Asked(trino_memory="1g").beside(runs).flink == runs.flink


def test_an_interrupted_up_says_that_servers_go_on(stack: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Background, "up", interrupted)
    monkeypatch.setattr(Wanted, "fetch", lambda _: None)
    result = stack("up", "--only", "postgres")
    assert result.status == 130
    assert "`bitlake stack status`" in result.err
    assert "`bitlake stack down`" in result.err


def test_what_runs_keeps_its_memory_and_is_told(stack: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [Known(name, "healthy", 1, {}, Path("log"), "2g") for name in ("trino", "flink-taskmanager-1")]
    for name, gives in (
        ("up", None),
        ("wanted", Wanted(("flink", "trino"))),
        ("sections", {}),
        ("servers", runs),
    ):
        monkeypatch.setattr(Background, name, lambda *_, gives=gives: gives)
    monkeypatch.setattr(Wanted, "fetch", lambda _: None)
    said = stack("up", "--trino-memory", "1g").err
    assert "trino (2g). For 1g: `bitlake stack down --only trino`" in said
    assert "flink-taskmanager" not in said
    assert "flink-taskmanager-1 (2g). For 1g" in stack("up", "--task-manager-memory", "1 GB").err
    assert "memory" not in stack("up", "--trino-memory", "2g").err


def test_a_command_says_once_that_it_waits(stack: Run, tmp_path: Path) -> None:
    program = "from pipeline.cli.main import main; main(['stack', 'down'])"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with (tmp_path / "err").open("w") as err, Background(tmp_path / ".bitlake" / "stack").turn(lambda: None):
        command = subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=err)
        wait_until(lambda: bool((tmp_path / "err").read_text()), "the command to say that it waits", 30)
        assert command.poll() is None
    assert command.wait(30) == 0
    assert (tmp_path / "err").read_text().count("waits") == 1


@pytest.mark.parametrize("words", [["up", "--only", "postgres"], ["status"], ["down"], ["logs"]])
@pytest.mark.parametrize("place", [".bitlake", ".bitlake/stack"])
def test_a_file_where_the_folder_should_be(stack: Run, place: str, words: list[str]) -> None:
    Path(place).parent.mkdir(exist_ok=True)
    Path(place).write_text("")
    result = stack(*words)
    assert "fault" not in result.err
    if words != ["logs"]:
        assert result.status == 1
        assert f"{Path(place).absolute()} is a file" in result.err


def test_a_lake_yaml_that_is_a_folder(stack: Run) -> None:
    Path("lake.yaml").mkdir()
    result = stack("up", "--only", "postgres")
    assert result.status == 1
    assert "lake.yaml is a folder" in result.err
    assert "--config" in result.err
    assert not Path(".bitlake").exists()


def test_a_folder_that_can_t_be_written(stack: Run) -> None:
    result = stack("up", "--only", "postgres", "--config", "/sys/lake.yaml")
    assert result.status == 1
    assert "/sys/.bitlake" in result.err
    assert "fault" not in result.err
    assert "that you may write" in result.err


def test_a_stack_of_another_user(stack: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "kill", refused)
    monkeypatch.setattr(Background, "supervisor", processes.identity(os.getpid()))
    Path(".bitlake/stack").mkdir(parents=True)
    request = {"id": "x", "wanted": Wanted().written()}
    Path(".bitlake/stack/request.json").write_text(json.dumps(request))
    result = stack("down")
    assert result.status == 1
    assert "another user's" in result.err
    assert "fault" not in result.err


def test_down_says_whether_it_has_deleted_data(stack: Run) -> None:
    assert stack("down", "--output", "json").out == '{"stopped": false}\n'
    assert stack("down", "--delete-data", "--output", "json").out == '{"stopped": false, "deleted": false}\n'
    assert not Path(".bitlake").exists()
    (Path(".bitlake/stack/postgres/data")).mkdir(parents=True)
    assert stack("down", "--delete-data", "--output", "json").out == '{"stopped": false, "deleted": true}\n'
    assert not Path(".bitlake/stack").exists()


def test_logs_without_a_stack(stack: Run) -> None:
    result = stack("logs")
    assert (result.status, result.out) == (0, "")
    assert "no logs" in result.err


def test_logs_by_the_names_of_only(stack: Run) -> None:
    for name in ("flink-jobmanager", "flink-taskmanager-1", "flink-taskmanager-2", "trino"):
        folder = Path(".bitlake/stack") / name
        folder.mkdir(parents=True)
        (folder / "log").write_text(f"of {name}.\n")
    printed = stack("logs", "flink").out
    assert [name in printed for name in ("jobmanager.", "manager-1.", "manager-2.", "trino.")] == [
        True,
        True,
        True,
        False,
    ]
    assert stack("logs", "trino").out == "of trino.\n"
    wrong = stack("logs", "kafka")
    assert wrong.status == 1
    assert "There are flink-jobmanager" in wrong.err
