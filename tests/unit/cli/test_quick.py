"""A question imports what it needs, and nothing of what loads, draws or commits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import LAKE

HEAVY = {
    "benchmarks.workload",
    "currency_converter",
    "fsspec",
    "matplotlib",
    "numba",
    "pipeline.decode.decoder",
    "pipeline.engine",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "pyiceberg",
    "requests",
    "rocksdict",
    "sqlalchemy",
    "tenacity",
}
RUN = """
import atexit, json, sys
from pipeline.cli.main import main
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
main()
"""


def run(*words: str, code: str = RUN) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=120)


@pytest.mark.parametrize(
    "words",
    [
        ("asof", "bonds", "--valid", "2024-01-05", "--key", "isin=A"),
        ("timeline", "bonds", "--key", "isin=A"),
        ("history", "bonds", "--key", "isin=A"),
        ("diff", "bonds", "--from", "2024-01-01"),
        ("sql", "SELECT * FROM bonds"),
        ("status",),
        ("dead-letters", "list"),
    ],
)
def test_questions_import_nothing_heavy(lake, words):
    done = run(*words, "--output", "json")
    json.loads(done.stdout)
    *_, imported = done.stderr.splitlines()
    heavy = HEAVY if words[0] == "diff" else HEAVY | {"pyarrow.compute"}  # which knows which structs are null
    assert heavy & set(json.loads(imported)) == set()


def test_help_and_config_check_import_no_database_either(lake):
    for words in (("--help",), ("config", "check")):
        *_, imported = run(*words).stderr.splitlines()
        assert (HEAVY | {"duckdb"}) & set(json.loads(imported)) == set()


def test_a_long_answer_is_whole_when_the_process_leaves_early(lake):
    done = run("sql", "SELECT range AS n FROM range(200000)", "--output", "csv")
    assert len(done.stdout.splitlines()) == 200_001
    assert done.stdout.endswith("\n199999\n")


def test_a_load_with_dead_letters_tells_of_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("lake.yaml").write_text(LAKE)
    Path("broken.jsonl").write_text("{\n")
    done = run("load", "bonds", "broken.jsonl", code="from pipeline.cli.main import main; main()")
    assert "the record is a dead letter" in done.stderr
    assert "leaked" not in done.stderr
