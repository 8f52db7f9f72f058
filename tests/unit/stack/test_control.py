"""A stack in the background, without servers: who changes it when, and what becomes of a request."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import Unavailable
from stack.control import Background
from stack.flink import TaskManager
from stack.flink_home import FlinkHome, FlinkOptions
from stack.plan import Catalog, Wanted
from stack.turns import locked, turn
from tests.kafka_broker import wait_until


@pytest.fixture
def background(tmp_path: Path) -> Iterator[Background]:
    stack = Background(tmp_path / "stack")
    yield stack
    stack.down()


def _spoil(stack: Background) -> None:
    """No PostgreSQL can start here from now on: its folder is a file."""
    (stack.folder / "postgres").write_text("")


def _chosen(wanted: Wanted | None) -> tuple[object, ...]:
    """What the command line can choose."""
    assert wanted is not None
    return wanted.only, wanted.catalog, wanted.flink, wanted.trino_heap


def test_commands_take_turns(tmp_path: Path) -> None:
    file, said, order = tmp_path / "stack" / "turn", [], []

    def second() -> None:
        with turn(file, lambda: said.append("waits")):
            order.append("second")

    other = threading.Thread(target=second, daemon=True)
    with turn(file, lambda: said.append("the first waits, too")):
        other.start()
        wait_until(lambda: bool(said), "the second to say that it waits")
        order.append("first")
    other.join(30)
    assert (order, said) == (["first", "second"], ["waits"])


def test_who_waited_while_the_folder_was_removed_has_a_turn_of_its_own(background: Background) -> None:
    said: list[str] = []
    entered, leave = threading.Event(), threading.Event()

    def second() -> None:
        with background.turn(lambda: said.append("second")):
            entered.set()
            leave.wait(30)

    other = threading.Thread(target=second, daemon=True)
    with background.turn(lambda: None):
        other.start()
        wait_until(lambda: said == ["second"], "the second to wait")
        assert background.delete()
    assert entered.wait(30)
    with (background.folder / "turn").open() as there:
        assert not locked(there)  # it is the second's
    leave.set()
    other.join(30)


def test_an_error_that_nobody_expected_is_told_and_ends_nothing(background: Background) -> None:
    background.up(Wanted(()))
    supervisor = background.supervisor
    _spoil(background)
    with pytest.raises(Unavailable, match="FileExistsError") as caught:
        background.up(Wanted(("postgres",)))
    assert "Traceback" not in str(caught.value)
    assert "supervisor.log" in caught.value.next_step
    log = background.logs()["supervisor"]
    wait_until(lambda: "Traceback" in log.read_text(), "the trace in the log, which follows the answer")
    background.up(Wanted(()))
    assert background.supervisor == supervisor


def test_options_of_an_up_that_failed_do_not_stay(background: Background) -> None:
    before = Wanted((), flink=FlinkOptions(task_manager_memory="2g"), trino_heap="3g")
    background.up(before)
    assert _chosen(background.wanted()) == _chosen(before)
    _spoil(background)
    flink = FlinkOptions(2, task_manager_memory="9g")
    with pytest.raises(Unavailable):
        background.up(Wanted(("postgres",), Catalog.POSTGRES, flink=flink, trino_heap="9g"))
    flink = FlinkOptions(2, task_manager_memory="2g")
    assert _chosen(background.wanted()) == _chosen(Wanted(("postgres",), flink=flink, trino_heap="3g"))


def test_what_was_asked_for_last_counts_while_it_is_not_met(background: Background) -> None:
    background.up(Wanted(()))
    background.request(Wanted((), trino_heap="4g"))  # as of an `up` that was interrupted
    assert _chosen(background.wanted()) == _chosen(Wanted((), trino_heap="4g"))


def test_a_task_manager_has_the_memory_of_its_own_start(tmp_path: Path) -> None:
    (tmp_path / "resource-id").write_text("x")
    home = FlinkHome(tmp_path, {}, FlinkOptions(task_manager_memory="3g"), None)
    server = TaskManager("flink-taskmanager-1", tmp_path, {"metrics": 1, "rest": 2}, home)
    assert server.settings["taskmanager.memory.process.size"] == server.memory == "3g"
