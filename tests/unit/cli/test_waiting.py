"""Many commands that write to one lake at once: each is told whose turn it is, or queues for its own."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.errors import Category
from pipeline.lake import Lake
from state import StateLocked, open_state
from tests.forks import Child, Forks

FEEDS = 20
WAITING = "waiting for process"


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as forks:
        yield forks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = [f"feed{number}" for number in range(FEEDS)]
    datasets = [{"name": n, "table": f"t.{n}", "key": "id", "valid_from": "from"} for n in names]
    (tmp_path / "lake.yaml").write_text(json.dumps({"datasets": datasets}))
    (tmp_path / "good.jsonl").write_text('{"id": "A", "from": "2024-01-01", "x": 1}\n')
    (tmp_path / "bad.jsonl").write_text('{"id": "A"}\n')
    return tmp_path


def start(forks: Forks, folder: Path, *words: str) -> Child:
    return forks.start("tests.forks:command_line", str(folder), *words)


def err_of(child: Child, status: int) -> str:
    _, err = child.communicate()
    assert child.returncode == status, err.decode()
    return err.decode()


def told(child: Child) -> bool:
    """Whether a process says that it waits, within a minute."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if WAITING in Path(f"/proc/{child.pid}/fd/2").read_text():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.slow
def test_twenty_feeds_at_once_queue_and_all_end_well(folder: Path, forks: Forks) -> None:
    loads = [
        start(forks, folder, "load", f"feed{number}", "good.jsonl", "--wait", "10m")
        for number in range(FEEDS)
    ]
    errors = [err_of(load, 0) for load in loads]
    assert {error.count(WAITING) for error in errors} == {0, 1}  # once, whatever it waits for
    lake = Lake.open(folder / "lake.yaml", {})
    assert [lake.timeline(f"feed{number}").num_rows for number in range(FEEDS)] == [1] * FEEDS


@pytest.mark.slow
def test_without_waiting_it_is_a_condition_that_ends(folder: Path, forks: Forks) -> None:
    """Not bad configuration: a scheduler may try again, and the error offers to queue."""
    held = open_state(folder / ".bitlake/state")
    words = ("feed0", "good.jsonl", "--output", "json")
    error = json.loads(err_of(start(forks, folder, "load", *words), 1).splitlines()[-1])
    assert (error["category"], error["retryable"]) == (Category.UNAVAILABLE.value, True)
    assert f"process {os.getpid()}" in error["error"]
    assert "--wait 10m" in error["next_step"]
    error = json.loads(err_of(start(forks, folder, "load", *words, "--wait", "50ms"), 1).splitlines()[-1])
    assert error["retryable"]
    held.close()
    err_of(start(forks, folder, "load", *words), 0)


@pytest.mark.slow
def test_who_waits_says_for_whom_and_can_be_stopped(folder: Path, forks: Forks) -> None:
    held = open_state(folder / ".bitlake/state")
    load = start(forks, folder, "load", "feed0", "good.jsonl", "--wait", "10m")
    assert told(load)
    load.send_signal(signal.SIGINT)
    error = err_of(load, 130)
    assert f"{WAITING} {os.getpid()}" in error
    assert "Stopped before anything new was committed" in error
    held.close()


@pytest.mark.slow
def test_a_replay_queues_too(folder: Path, forks: Forks) -> None:
    err_of(start(forks, folder, "load", "feed0", "bad.jsonl"), 0)
    held = open_state(folder / ".bitlake/state")
    replay = start(forks, folder, "dead-letters", "replay", "--wait", "10m")
    assert told(replay)
    held.close()
    err_of(replay, 1)  # all are refused again


def test_in_python(folder: Path) -> None:
    lake = Lake.open(folder / "lake.yaml", {})
    records = [{"id": "A", "from": "2024-01-01"}]
    held = open_state(folder / ".bitlake/state")
    with pytest.raises(StateLocked, match=f"process {os.getpid()}") as caught:
        lake.load("feed0", records)
    assert caught.value.retryable
    closing = threading.Timer(0.2, held.close)
    closing.start()
    assert lake.load("feed0", records, wait=timedelta(minutes=10)).changes == 1
    closing.join()


def test_a_run_that_waits_ends_when_it_is_stopped(folder: Path) -> None:
    lake, stop = Lake.open(folder / "lake.yaml", {}), threading.Event()
    held = open_state(folder / ".bitlake/state")
    stopping = threading.Timer(0.2, stop.set)
    stopping.start()
    assert lake.run(stop=stop, wait=timedelta(minutes=10)).records == 0
    stopping.join()
    held.close()
