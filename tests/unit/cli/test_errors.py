"""Failures: their exit status, and what they say to do next."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "words",
    [
        ["asof"],
        ["asof", "bonds", "--valid", "yesterday"],
        ["asof", "bonds", "--system", "2024-13-01"],
        ["asof", "bonds", "--key", "isin"],
        ["history", "bonds", "--output", "xml"],
        ["diff", "bonds"],
        ["diff", "bonds", "--from", "x"],
        ["nonsense"],
        ["load", "bonds"],
        ["dead-letters", "list", "--limit", "0"],
    ],
)
def test_wrong_usage_is_2(lake, bitlake, words):
    result = bitlake(*words)
    assert result.status == 2
    assert result.out == ""
    assert result.err


@pytest.mark.parametrize(
    ("words", "error", "next_step"),
    [
        (["asof", "bond"], "'bond'", "bonds"),
        (["history", "empty"], "ref.empty", "bitlake load empty"),
        (["history", "bonds__calls"], "bonds__calls", "bitlake load bonds "),
        (["history", "bonds", "--key", "level=1"], "'level' is not a key column", "isin"),
        (["sql", "SELEC 1"], "DuckDB refuses", "SHOW ALL TABLES"),
        (["status", "-c", "other.yaml"], "other.yaml", "bitlake init"),
    ],
)
def test_failures_are_1_and_say_what_to_do(lake, bitlake, words, error, next_step):
    result = bitlake(*words)
    assert result.status == 1
    assert result.out == ""
    assert error in result.err
    assert next_step in result.err
    assert "Traceback" not in result.err
    told = json.loads(bitlake(*words, "--output", "json").err)
    assert error in told["error"]
    assert next_step in told["next_step"]
    assert told["category"] in ("bad input", "bad configuration")


def test_an_unreachable_catalog_is_retryable(lake, bitlake, monkeypatch):
    monkeypatch.setenv("BITLAKE__CATALOG__URI", "sqlite:////proc/nowhere/catalog.db")
    result = bitlake("history", "bonds", "--output", "json")
    assert result.status == 1
    assert json.loads(result.err)["next_step"]


def test_options_may_come_before_or_after_the_command(lake, bitlake):
    (lake / "lake.yaml").rename(lake / "other.yaml")
    before = bitlake("-c", "other.yaml", "history", "bonds", "--output", "json")
    assert before.status == 0
    assert before.json == bitlake("history", "bonds", "--output", "json", "--config", "other.yaml").json


def test_debug_shows_where(lake, capfd):
    from pipeline.cli.main import main
    from pipeline.errors import BadInput

    with pytest.raises(BadInput):
        main(["history", "bond", "--debug"])


def test_a_closed_pipe_is_no_error(lake):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = (
        f"{sys.executable} -c 'from pipeline.cli.main import main; main()' history bonds --output csv | true"
    )
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, env=environment, check=False, timeout=120
    )
    assert "Traceback" not in done.stderr


def test_an_interrupt_is_130(lake, bitlake, monkeypatch):
    from pipeline.lake import Lake

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Lake, "history", interrupted)
    assert bitlake("history", "bonds").status == 130


def test_an_interrupt_while_it_is_imported_leaves_no_traceback():
    program = """
import sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from pipeline.cli import main
main()
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, env=environment, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (130, b"")


def test_a_fault_of_ours_says_so(lake, bitlake, monkeypatch):
    from pipeline.lake import Lake

    def broken(*_: object, **__: object) -> None:
        raise ValueError("boom")

    monkeypatch.setattr(Lake, "history", broken)
    result = bitlake("history", "bonds")
    assert result.status == 1
    assert "boom" in result.err
    assert "--debug" in result.err


@pytest.fixture(autouse=True)
def logs_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
