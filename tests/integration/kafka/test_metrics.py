"""Known records and what the metrics say of them; whether a run is ready while servers are away."""

import json
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine.watching import Watcher
from pipeline.lake import Lake
from pipeline.metrics import Metrics, serve
from tests.faults import test_run_servers as faults
from tests.integration.kafka.test_observing import scraped, status
from tests.integration.kafka.test_run import bond, lake_at, running, send
from tests.kafka_broker import Kafka, wait_until
from tests.model.decoding import Record
from tests.promql import names
from tests.proxy import Proxy

pytestmark = pytest.mark.servers
between = faults.between
BONDS = {
    "name": "bonds",
    "table": "ref.bonds",
    "key": ["isin"],
    "valid_from": "from",
    "valid_to": "to",
    "operation": "action",
    "columns": {"rate": "long"},
    "children": [{"path": "calls", "key": ["on"]}],
}
CALLS = [{"on": 1}, {"on": 2}]
FROM = date(2024, 1, 1)
CHANGES: list[tuple[int, date, date, dict[str, Any]]] = [
    (0, date(2024, 1, 2), FROM, {"isin": "A", "rate": 1, "calls": CALLS}),
    (0, date(2024, 1, 4), FROM, {"isin": "A", "action": "patch", "rate": 2}),
    (0, date(2024, 1, 5), date(2024, 3, 1), {"isin": "A", "action": "delete", "to": "2024-04-01"}),
    (0, date(2024, 1, 6), date(2024, 6, 1), {"isin": "A", "action": "terminate"}),
    (0, date(2024, 1, 7), date(2024, 4, 1), {"isin": "A", "action": "retract"}),
    (1, FROM, date(2023, 1, 1), {"isin": "B", "rate": 5}),
]
"""Partition, when it is known, from when it holds, and the rest."""
NO_OPS: list[tuple[int, date, date, dict[str, Any]]] = [
    (0, date(2024, 1, 8), FROM, {"isin": "A", "rate": 2, "to": "2024-03-01", "calls": CALLS}),
    (2, FROM, date(2020, 1, 1), {"isin": "B", "action": "delete", "to": "2021-01-01"}),
]
DEAD = {
    "json": b"{",
    "key": b'{"from": "2024-01-01"}',
    "valid time": b'{"isin": "B"}',
    "column": b'{"isin": "B", "from": "2024-01-01", "rate": "x"}',
    "operation": b'{"isin": "B", "from": "2024-01-01", "action": "frob"}',
    "children": b'{"isin": "B", "from": "2024-01-01", "calls": [{"on": 1}, {"on": 1}]}',
}


@pytest.fixture
def topic(broker: Kafka) -> str:
    name = f"t{uuid.uuid4().hex[:12]}"
    broker.create_topic(name, 3, retention_ms=-1)
    return name


@contextmanager
def served(lake: Lake) -> Iterator[int]:
    """Runs the lake and serves its metrics; gives the port."""
    metrics = Metrics(["bonds"], lake.config.commit.seconds)
    watching = metrics.watching(lambda _: Watcher())
    with serve(metrics, "127.0.0.1", 0) as port:
        assert status(port, "/readyz") == 503, "it has not begun"
        with running(lake, watching=watching):
            yield port


def micros(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


def test_all_numbers_of_known_records(broker: Kafka, topic: str, tmp_path: Path) -> None:
    records = [
        Record(json.dumps({"from": valid.isoformat()} | more).encode(), micros(known), partition=partition)
        for partition, known, valid, more in (*CHANGES, *NO_OPS)
    ]
    records += [Record(value, micros(FROM), partition=1) for value in DEAD.values()]
    send(broker, topic, records)
    lake = lake_at(tmp_path, broker, [BONDS | {"topic": topic}], commit={"records": 1000, "seconds": 0.2})
    with served(lake) as port:
        wait_until(lambda: scraped(port).get(("bitlake_records_total", "bonds")) == 14, "14 records", 60)
        wait_until(lambda: status(port, "/readyz") == 200, "it to be ready", 60)
        found, position, now = scraped(port), lake.status()[0].position, time.time()
    assert position is not None

    def counts(name: str) -> dict[str, float]:
        return {labels[1]: n for (metric, *labels), n in found.items() if metric == f"bitlake_{name}" and n}

    assert counts("changes_total") == {"put": 2, "patch": 1, "delete": 1, "terminate": 1, "retract": 1}
    assert found["bitlake_no_ops_total", "bonds"] == 2
    assert counts("dead_letters_total") == dict.fromkeys(DEAD, 1)
    assert counts("versions_total") == {"bonds": 6, "bonds__calls": 8}
    late = [(micros(known) - micros(valid)) / 1e6 for _, known, valid, _ in CHANGES]
    assert found["bitlake_late_distance_seconds_sum", "bonds"] == sum(late)
    day = 86_400
    bins = {"0.0": 3, f"{6.0 * 3600}": 3, f"{1.0 * day}": 4, f"{7.0 * day}": 5, f"{90.0 * day}": 5}
    bins |= {f"{365.0 * day}": 6, "+Inf": 6}
    assert {le: found["bitlake_late_distance_seconds_bucket", "bonds", le] for le in bins} == bins
    assert [found["bitlake_lag_offsets", "bonds", str(p)] for p in range(3)] == [0, 0, 0]
    assert abs(found["bitlake_horizon_age_seconds", "bonds"] - (now - position.horizon / 1e6)) < 30
    epochs = found["bitlake_epochs_total", "bonds"]
    assert 1 <= epochs == position.epoch
    assert found["bitlake_commit_duration_seconds_count", "bonds"] == epochs
    assert found["bitlake_write_duration_seconds_count", "bonds"] == epochs
    assert 1 <= found["bitlake_epoch_duration_seconds_count", "bonds"] <= epochs
    parts = [found[f"bitlake_{part}_duration_seconds_sum", "bonds"] for part in ("commit", "write", "epoch")]
    assert 0 < parts[0] < parts[2] < 60
    assert now - 60 < found["bitlake_last_commit_timestamp_seconds", "bonds"] <= now
    assert found["bitlake_state_keys", "bonds"] == 2
    assert found["bitlake_strayed_keys_total", "bonds"] == 1
    assert counts("state_lookups_total") == {"nowhere": 2, "memory": 6}
    assert 0 < found["bitlake_state_memory_bytes", "bonds"] < 1 << 20
    assert found["bitlake_state_disk_bytes",] > 0
    assert found["bitlake_uncommitted_age_seconds", "bonds"] == 0
    assert found["bitlake_server_away", "bonds"] == 0
    assert names() - {name for name, *_ in found} == set(), "what dashboard and alerts ask for is there"


def test_not_ready_while_the_broker_is_away(
    broker: Kafka, topic: str, tmp_path: Path, between: Proxy
) -> None:
    lake = lake_at(tmp_path, broker, [BONDS | {"topic": topic}], **faults.impatient(broker))
    between.go_away()
    with served(lake) as port:
        assert status(port, "/readyz") == 503, "before the first poll"
        between.come_back()
        for round_ in range(2):
            send(broker, topic, [Record(bond(f"A{round_}", 1), micros(FROM))])
            wait_until(lambda: status(port, "/readyz") == 200, "it to be ready", 60)
            assert scraped(port)["bitlake_server_away", "bonds"] == 0
            between.go_away()
            wait_until(lambda: status(port, "/readyz") == 503, "it not to be ready", 60)
            assert status(port, "/healthz") == 200
            between.come_back()
        wait_until(lambda: scraped(port).get(("bitlake_records_total", "bonds")) == 2, "2 records", 60)


def test_not_ready_while_the_catalog_is_away(
    broker: Kafka, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.sink.commit.ATTEMPTS", 2)
    catalog = {"name": "lake", "type": "sql", "warehouse": f"{tmp_path}/warehouse"}
    catalog["uri"] = f"sqlite:///{tmp_path}/catalog.db?timeout=0.2"
    commit = {"records": 1000, "seconds": 0.2}
    lake = lake_at(tmp_path, broker, [BONDS | {"topic": topic}], catalog=catalog, commit=commit)
    with served(lake) as port:
        wait_until(lambda: status(port, "/readyz") == 200, "it to be ready", 60)
        with closing(sqlite3.connect(tmp_path / "catalog.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            send(broker, topic, [Record(bond("A", 1), micros(FROM))])
            wait_until(lambda: status(port, "/readyz") == 503, "it not to be ready", 60)
            assert scraped(port)["bitlake_server_away", "bonds"] == 1
            assert status(port, "/healthz") == 200
            other.rollback()
        wait_until(lambda: status(port, "/readyz") == 200, "it to be ready again", 60)
        wait_until(lambda: scraped(port).get(("bitlake_records_total", "bonds")) == 1, "the record", 60)
