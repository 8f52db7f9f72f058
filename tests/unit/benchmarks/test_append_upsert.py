"""What `bench append-upsert` makes of what it measured."""

import copy
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.append_upsert.job import commits_of
from benchmarks.append_upsert.measure import different
from benchmarks.append_upsert.page import report
from benchmarks.append_upsert.picture import draw
from benchmarks.append_upsert.questions import Points, questions
from benchmarks.append_upsert.servers import cpu_seconds
from benchmarks.append_upsert.subjects import Subject
from pipeline.config import load_config
from stack.flink import JobManager
from stack.flink_home import CHECKPOINTS
from stack.seaweedfs import SeaweedFS

LOG = """\
{"event":"Committed append to table: lake.bench.bonds_append, branch: main, checkpointId 1 in 1195 ms"}
{"event":"Committed append to table: lake.bench.bonds_append__calls, branch: main, checkpointId 1 in 20 ms"}
{"event":"Committed append to table: lake.bench.bonds_appended, branch: main, checkpointId 1 in 7 ms"}
{"event":"Committed append to table: lake.bitlake.dead_letters, branch: main, checkpointId 1 in 8 ms"}
{"event":"other"}
"""


def asked(seconds: float) -> dict[str, Any]:
    at = Points("2024-01-01 00:00:00 UTC", "2024-01-02 00:00:00 UTC", "A")
    names = questions(["bench.t", "bench.t__calls"], at)
    return {name: {"median_seconds": seconds, "seconds": [seconds], "answer": [[1, "x"]]} for name in names}


def files(count: int) -> dict[str, Any]:
    part = {"files": count, "bytes": count * 1_000_000, "rows": count}
    return {"data": part, "position_deletes": part, "equality_deletes": part, "snapshots": 3}


def subject(mode: str, factor: float) -> dict[str, Any]:
    spread = {"median_seconds": factor, "longest_seconds": 2 * factor, "all_seconds": 5.0}
    return {
        "mode": mode,
        "tables": ["bench.t"],
        "points": {"valid": "v"},
        "job": {
            "wall_seconds": 20.0,
            "job_seconds": 10.0 * factor,
            "cpu_seconds": {"flink-taskmanager": 9.0, "kafka": 1.5},
            "checkpoints": {"completed": 3, "failed": 0, "state_bytes": 5_000_000, **spread},
            "commits": {"count": 6, **spread},
        },
        "before": {"files": files(12), "questions": asked(0.5 * factor)},
        "compaction_seconds": 4.2,
        "after": {"files": files(2), "questions": asked(0.25)},
    }


@pytest.fixture
def result() -> dict[str, Any]:
    return {
        "machine": {"cpu": "a", "cores": 2, "memory_bytes": 2**34, "system": "Linux", "load_before": 0.1},
        "versions": {},
        "conditions": {
            "workload": {"records": 1_000_000, "keys": 100},
            "child_table": False,
            "parallelism": 1,
            "checkpoint_interval": "10s",
            "asked": 5,
        },
        "subjects": {"bonds_append": subject("append", 1.0), "bonds_upsert": subject("upsert", 2.0)},
    }


def test_the_page_tells_the_figures_beside_the_references(result: dict[str, Any]) -> None:
    page = report(result, "figures.png")
    for text in (
        "| writing | bonds_append | bonds_upsert |",
        "| records per second | 100,000 | 50,000 |",
        "| equality deletes | 12 files, 12.0 MB → 2 files, 2.0 MB |",
        "| history, calls | 0.500 → 0.250 | 1.000 → 0.250 |",
        "| as-of, all keys | 0.500 → 0.250 | 1.000 → 0.250 |",
        "1556 s",
        "64 and 78",
        "![figures](figures.png)",
    ):
        assert text in page


def test_the_picture_is_one(result: dict[str, Any], tmp_path: Path) -> None:
    draw(result, tmp_path / "figures.png")
    assert (tmp_path / "figures.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "figures.png").stat().st_size < 200_000


def test_an_answer_that_differs_is_found(result: dict[str, Any]) -> None:
    subjects = result["subjects"]
    assert different(subjects) == []
    wrong = copy.deepcopy(subjects)
    wrong["bonds_upsert"]["after"]["questions"]["history, all"]["answer"] = [[2, "x"]]
    assert different(wrong) == ["history, all"]


def test_commits_of_a_table_and_its_children_count(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(LOG)
    assert [*commits_of("bench.bonds_append", log)] == [1195, 20]
    assert [*commits_of("bench.bonds_append", log, LOG.index("\n") + 1)] == [20]


def test_a_subject_s_job_keeps_its_checkpoints_in_the_stack(tmp_path: Path) -> None:
    kinds = (SeaweedFS, JobManager)
    servers = [kind(kind.kind, tmp_path, dict.fromkeys(kind.own_ports, 1000)) for kind in kinds]
    stack: Any = SimpleNamespace(servers={server.kind: server for server in servers})
    Subject("bonds_1000", "upsert").write(tmp_path, stack, "filled", "3s", children=False)
    config = load_config(tmp_path / "lake.yaml", {})
    assert config.flink["execution.checkpointing.interval"] == "3s"
    assert config.flink["execution.checkpointing.dir"] == CHECKPOINTS
    (dataset,) = config.datasets
    assert (dataset.name, dataset.topic, dataset.table) == ("bonds_1000", "filled", "bench.bonds_1000")


def test_processors_are_counted_by_kind() -> None:
    server = SimpleNamespace(kind="x", identity=SimpleNamespace(pid=os.getpid()))
    ended = SimpleNamespace(kind="y", identity=None)
    stack: Any = SimpleNamespace(servers={"a": server, "b": server, "c": ended})
    spent = cpu_seconds(stack)
    assert spent.keys() == {"x"}
    assert abs(spent["x"] - 2 * sum(os.times()[:4])) < 1
