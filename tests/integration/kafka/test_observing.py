"""What `bitlake run` tells of itself, and dead letters in Kafka, on a real broker."""

import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.cli.progress import LoadWatcher, Silence
from pipeline.metrics import Metrics, serve
from tests.integration.kafka.test_run import BONDS, bond, lake_at, running, send
from tests.kafka_broker import Kafka, wait_until
from tests.model.decoding import Record

pytestmark = pytest.mark.servers


@pytest.fixture
def topic(broker: Kafka) -> str:
    name = f"t{uuid.uuid4().hex[:12]}"
    broker.create_topic(name, 3, retention_ms=-1)
    return name


def scraped(port: int) -> dict[tuple[str, ...], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return {
        (sample.name, *(v for _, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_metrics_and_health_of_a_run(broker: Kafka, topic: str, tmp_path: Path) -> None:
    lake = lake_at(tmp_path, broker, [BONDS | {"topic": topic}], commit={"records": 1000, "seconds": 0.2})
    records = [Record(bond(f"A{n}", n), 1_700_000_000_000_000, partition=n % 3) for n in range(30)]
    send(broker, topic, [*records, Record(b"{", 1_700_000_000_000_000), Record(records[0].value, 1_800_000)])
    metrics = Metrics(["bonds"], 0.2)
    watching = metrics.watching(lambda name: LoadWatcher(name, Silence()))
    with serve(metrics, "127.0.0.1", 0) as port:
        assert status(port, "/readyz") == 503
        with running(lake, watching=watching):
            wait_until(lambda: scraped(port).get(("bitlake_records_total", "bonds")) == 32, "32 records")
            found = scraped(port)
            assert found["bitlake_changes_total", "bonds", "put"] == 30
            assert found["bitlake_no_ops_total", "bonds"] == 1
            assert found["bitlake_dead_letters_total", "bonds", "json"] == 1
            assert found["bitlake_versions_total", "bonds", "bonds"] == 30
            assert found["bitlake_late_distance_seconds_bucket", "bonds", "+Inf"] == 30
            assert [found["bitlake_lag_offsets", "bonds", str(p)] for p in range(3)] == [0, 0, 0]
            assert found["bitlake_state_keys", "bonds"] == 30
            assert found["bitlake_state_lookups_total", "bonds", "nowhere"] == 30
            assert found["bitlake_fetched_bytes_total", "bonds"] > 500
            assert found["bitlake_state_disk_bytes",] > 0
            assert found["bitlake_dataset_up", "bonds"] == 1
            wait_until(lambda: status(port, "/readyz") == 200, "it to be ready", 60)
        assert scraped(port)["bitlake_dataset_up", "bonds"] == 0
        assert status(port, "/healthz") == 200
