"""What a Flink job tells of itself: its metrics, logs and status, and dead letters in Kafka."""

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.flink.cluster import Cluster
from pipeline.sink.dead_letter_topic import letter_of
from stack.control import Background
from stack.flink import JobManager, TaskManager
from tests.faults.runs import BONDS
from tests.integration.flink.place import FlinkPlace
from tests.integration.kafka.test_observing import read
from tests.kafka_broker import wait_until
from tests.model.decoding import Record
from tests.promql import expressions, flink_names

pytestmark = [pytest.mark.servers, pytest.mark.long, pytest.mark.usefixtures("job")]
OURS = "flink_taskmanager_job_task_operator_bitlake_dataset_"
BROKEN = [
    Record(b"{", key=b"\xff", timestamp=1_700_000_000_000_000, partition=2),
    Record(b'{"isin": "A"}', key=None, timestamp=1_700_000_000_000_000, partition=0),
]


@pytest.fixture
def job(stack: Background) -> Iterator[None]:
    """What a test leaves running is cancelled: the stack has one slot."""
    yield
    cluster = Cluster(stack.sections()["flink"])
    for left in cluster.running():
        cluster.cancel(left)
        cluster.wait(left)


def place_of(stack: Background, folder: Path, seed: int, **settings: Any) -> FlinkPlace:
    place = FlinkPlace(folder, stack, BONDS | {"on_new_field": "ignore"}, seed)
    file = folder / "lake.yaml"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return place


def check_letters(place: FlinkPlace, *, twice: bool) -> None:
    """The topic has each letter of the table, with all that the embedded runtime gives it."""
    letters = place.lake.dead_letters()
    assert letters is not None
    name = place.topic.entry["name"]
    table = place.lake._catalog.load_table("bitlake.dead_letters").scan(f"dataset = '{name}'").to_arrow()
    at = table.schema.get_field_index("timestamp")
    rows = table.set_column(at, "timestamp", table["timestamp"].cast("int64")).to_pylist()
    assert len(rows) == place.topic.model.counts.dead_letters
    expected = {row["id"]: letter_of(row, name, 0) for row in rows}
    sent = read(place.topic.broker, f"{place.topic.name}.dlq", len(rows))
    ids = Counter(dict(headers)["bitlake.id"].decode() for _, _, _, headers, _ in sent)
    assert ids.keys() == expected.keys()
    assert twice or set(ids.values()) == {1}
    for _, key, value, headers, _ in sent:
        letter = expected[dict(headers)["bitlake.id"].decode()]
        assert (key, value, headers) == (letter.key, letter.value, letter.headers)


def test_dead_letters_go_to_kafka_too(stack: Background, tmp_path: Path) -> None:
    place = place_of(stack, tmp_path, 51, dead_letters={"topic": "{topic}.dlq"})
    place.topic.grow(60)
    place.topic.add(BROKEN, headers=[("trace", b"7"), ("raw", b"\xfe")])
    place.submit("--until-end", "--wait")
    place.check()
    check_letters(place, twice=False)


def test_dead_letters_of_a_job_that_is_stopped_and_goes_on(stack: Background, tmp_path: Path) -> None:
    place = place_of(stack, tmp_path, 52, dead_letters={"topic": "{topic}.dlq"})
    place.topic.add(BROKEN)
    place.submit()
    place.read_all()
    place.topic.grow(60)
    place.bitlake("submit", "--stop")
    place.submit()
    place.topic.add(BROKEN)
    place.read_all()
    place.bitlake("submit", "--stop")
    place.check()
    check_letters(place, twice=True)


def scraped(stack: Background) -> list[tuple[str, dict[str, str], float]]:
    """What Prometheus would get of the cluster."""
    found = []
    for kind in (JobManager, TaskManager):
        with urllib.request.urlopen(stack.server(kind).addresses()["metrics"], timeout=30) as answer:
            text = answer.read().decode()
        found += [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
    return found


def test_metrics_logs_and_status_of_a_job_that_runs(stack: Background, tmp_path: Path) -> None:
    place = place_of(stack, tmp_path, 53)
    model, name = place.topic.model, place.topic.entry["name"]
    place.topic.grow(80)
    place.topic.add(BROKEN)
    place.submit()
    place.read_all()

    def total(metric: str, **labels: str) -> float:
        return sum(
            value
            for found, known, value in scraped(stack)
            if found == OURS + metric and {"dataset": name, **labels}.items() <= known.items()
        )

    wait_until(lambda: total("records") == model.records, "the metrics to have all records", 60)
    counts = model.counts
    assert total("dead_letters") == total("stage_dead_letters") == counts.dead_letters
    assert total("changes") == total("operation_changes") == counts.changes
    assert total("no_ops") == counts.no_ops
    assert total("operation_changes", operation="put") > 0
    assert total("found_lookups") == counts.changes + counts.no_ops
    for step in ("decode", "split", "apply", "gather", "write_state"):
        assert total(f"{step}_microseconds_count") > 0, step
        assert 0 < total(f"{step}_microseconds", quantile="0.95") < 60e6
    there = {found for found, _, _ in scraped(stack)}
    assert flink_names() - there == set(), "what the dashboard asks for is there"
    assert any("flink_" in expression for expression in expressions())

    (told,) = place.bitlake("status")
    assert (told["dataset"], told["dead_letters"]) == (name, counts.dead_letters)
    assert sum(told["offsets"].values()) == model.records
    assert sum(told["lag"].values()) == 0
    assert told["job"] == {
        "id": place.cluster.running()[0],
        "state": "RUNNING",
        "parallelism": 1,
        "failure": None,
    }
    assert told["rows"] >= len(model.rows) > 0
    place.topic.grow(10)
    place.read_all()
    (later,) = place.bitlake("status")
    assert later["epoch"] > told["epoch"]
    assert later["horizon"] >= told["horizon"]

    log = (stack.folder / "flink-taskmanager-1" / "log").read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert all({"timestamp", "level", "logger", "event"} <= line.keys() for line in lines)
    assert any(line["event"] == "began" and line.get("dataset") == name for line in lines), "Python's"
