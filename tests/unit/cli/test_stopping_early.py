"""`bitlake run` is stopped while what it needs to begin is away: at once, and with status 0."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import pipeline.engine.run
import pipeline.source.kafka.source
from pipeline import Lake
from pipeline.engine.watching import Watcher
from pipeline.errors import Unavailable

BONDS = {"name": "bonds", "table": "ref.bonds", "key": ["isin"], "valid_from": "from"}
NOBODY = "127.0.0.1:1"
PROMPTLY = 10.0
"""Seconds on a busy machine; a broker is waited for 30 s, a catalog 60 s."""
QUICKLY = """\
import pipeline.source.kafka.source
pipeline.source.kafka.source._ANSWER_SECONDS = 1.0
from pipeline.cli.main import main
main()
"""
"""`bitlake` that finds sooner than after ten seconds that brokers are away."""


@pytest.fixture
def stalled() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.source.kafka.source, "_ANSWER_SECONDS", 1.0)


def lake_in(folder: Path, **settings: Any) -> Path:
    content = {"kafka": {"bootstrap.servers": NOBODY}, "datasets": [BONDS], **settings}
    (folder / "lake.yaml").write_text(json.dumps(content))
    return folder / "lake.yaml"


@contextmanager
def running(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-c", QUICKLY, "run", "--output", "json"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [*command, "-v"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()


def rest(address: str) -> dict[str, Any]:
    return {"catalog": {"type": "rest", "uri": f"http://{address}"}}


@pytest.mark.parametrize(
    ("away", "number"),
    [
        ("brokers", signal.SIGTERM),
        ("stalled brokers", signal.SIGINT),
        ("catalog", signal.SIGINT),
        ("stalled catalog", signal.SIGTERM),
    ],
)
def test_stopped_at_once(away: str, number: signal.Signals, stalled: str, tmp_path: Path) -> None:
    settings: dict[str, dict[str, Any]] = {
        "brokers": {},
        "stalled brokers": {"kafka": {"bootstrap.servers": stalled}},
        "catalog": rest(NOBODY),
        "stalled catalog": rest(stalled),
    }
    lake_in(tmp_path, **settings[away])
    with running(tmp_path) as process:
        _wait_for(process, b"following" if "stalled" in away else b"waiting for a server that is away")
        begun = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert time.monotonic() - begun < PROMPTLY
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["records"] == 0


def _wait_for(process: "subprocess.Popen[bytes]", text: bytes) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError("the process ended")


@pytest.mark.parametrize("settings", [{}, rest(NOBODY)], ids=["brokers", "catalog"])
def test_the_watcher_is_told_who_is_waited_for(settings: dict[str, Any], tmp_path: Path) -> None:
    told, stop = list[str](), threading.Event()

    class Told(Watcher):
        def waiting(self, reason: str | None) -> None:
            if reason is not None:
                told.append(reason)
                stop.set()

    lake = Lake.open(lake_in(tmp_path, **settings), {})
    assert lake.run(stop=stop, watching=lambda _: Told()).records == 0
    assert "does not answer" in told[0]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, rest(NOBODY)], ids=["brokers", "catalog"])
def test_the_end_is_not_waited_for_for_ever(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.engine.run, "PATIENCE_SECONDS", 1.0)
    with pytest.raises(Unavailable, match="does not answer"):
        Lake.open(lake_in(tmp_path, **settings), {}).run(until_end=True)
