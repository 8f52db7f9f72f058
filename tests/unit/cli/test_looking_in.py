"""Logs and progress."""

import json
import logging

import pytest

from pipeline.cli import progress
from pipeline.cli.progress import Lines, Live, LoadWatcher, watching
from pipeline.engine.epoch import Summary
from pipeline.engine.watching import Committed
from pipeline.logs import LogFormat, configure_logs
from pipeline.sink.epoch import Position


def epoch(summary: Summary) -> Committed:
    return Committed(Position(1, {0: 5}, {0: 1}, 0), summary, {}, None, 1.0, 0.1, 0.1)


@pytest.fixture(autouse=True)
def logs_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("pipeline", "state"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_text_logs_have_their_values(capsys):
    configure_logs(LogFormat.TEXT, logging.INFO)
    logging.getLogger("pipeline.engine").info("committed", extra={"epoch": 3, "offsets": {0: 7}})
    logging.getLogger("pipeline.engine").debug("not asked for")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("info    committed epoch=3 offsets={0: 7}")


def test_json_logs_are_an_object_per_line(capsys):
    configure_logs(LogFormat.JSON, logging.INFO)
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("pipeline.engine").exception("failed", extra={"epoch": 3})
    (line,) = capsys.readouterr().err.splitlines()
    logged = json.loads(line)
    assert (logged["event"], logged["epoch"], logged["level"]) == ("failed", 3, "error")
    assert logged["timestamp"].endswith("Z")
    assert "boom" in logged["exception"]


def test_elsewhere_a_line_every_few_seconds(capsys, monkeypatch):
    watcher = LoadWatcher("bonds", Lines())
    watcher.read(1_000, 50, 200)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "_SECONDS_PER_LINE", 0.0)
    watcher.committed(epoch(Summary(records=900, changes=898, dead_letters=2, epochs=1)))
    line = capsys.readouterr().err
    assert line.startswith("bonds: 1,000 records (25% of the file), ")
    assert line.endswith("/s, 1 epochs, 2 dead letters\n")


def test_a_terminal_gets_a_live_display(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with watching("bonds", quiet=False) as watcher:
        assert isinstance(watcher._display, Live)
        watcher.read(1_000, 50, 200)
        watcher.committed(epoch(Summary(epochs=1)))
    assert "1,000 records" in capsys.readouterr().err


def test_quiet_shows_nothing(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS_PER_LINE", 0.0)
    with watching("bonds", quiet=True) as watcher:
        watcher.read(1_000, 50, 200)
    assert capsys.readouterr().err == ""
