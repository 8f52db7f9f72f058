"""Many datasets in one process: a slow catalog is felt by the broker, a busy topic not by a quiet one."""

import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.engine.watching import Committed, Vitals, Watcher
from tests.integration.kafka.test_run import BONDS, bond, lake_at, running
from tests.kafka_broker import Kafka, wait_until

pytestmark = pytest.mark.servers
MANY = 400_000
MORE_THAN_FITS = 700_000


class Telling(Watcher):
    """Notes, by dataset, what was read and committed."""

    def __init__(self, name: str, read: Counter[str], committed: Counter[str]) -> None:
        self.name, self.counts, self.offsets = name, read, committed
        self.vitals: Vitals | None = None

    def opened(self, vitals: Vitals) -> None:
        self.vitals = vitals

    def read(self, records: int, _done: int, _total: int | None) -> None:
        self.counts[self.name] = records

    def committed(self, epoch: Committed) -> None:
        self.offsets[self.name] = sum(epoch.position.offsets.values())


@pytest.fixture
def names(broker: Kafka) -> Iterator[Callable[[int], list[str]]]:
    def make(count: int) -> list[str]:
        made = [f"d{n}{uuid.uuid4().hex[:8]}" for n in range(count)]
        for name in made:
            broker.create_topic(name, 2, retention_ms=-1)
        return made

    return make


def fill(broker: Kafka, topic: str, count: int) -> None:
    producer = broker.producer(compression_type="lz4", linger_ms=100, queue_buffering_max_messages=1_000_000)
    for n in range(count):
        producer.produce(topic, bond(f"K{n}", n), partition=n % 2, timestamp=1_700_000_000_000)
    assert producer.flush(60) == 0


def test_a_slow_catalog_stops_reading_before_memory_grows(
    broker: Kafka, names: Callable[[int], list[str]], tmp_path: Path
) -> None:
    (name,) = names(1)
    epochs = {"records": 10**9, "seconds": 3600, "memory": "16MB"}
    lake = lake_at(tmp_path, broker, [BONDS | {"name": name}], commit=epochs)
    told = Telling(name, Counter(), Counter())
    with running(lake, watching=lambda _: told):
        wait_until(lambda: told.vitals is not None, "the dataset to be open", 60)
        assert told.vitals is not None
        with closing(sqlite3.connect(tmp_path / ".bitlake" / "catalog.db", isolation_level=None)) as catalog:
            catalog.execute("BEGIN EXCLUSIVE")
            fill(broker, name, MORE_THAN_FITS)
            vitals, more = told.vitals, 1000
            since = [((-1, -1), 0.0)]

            def stands_still() -> bool:
                now = told.counts[name], sum(vitals.lags().values())
                if now != since[0][0]:
                    since[0] = now, time.monotonic()
                # Brokers are asked every five seconds where the topic ends.
                return now[0] > 0 and time.monotonic() - since[0][1] > 7

            wait_until(stands_still, "reading to stop", 120)
            assert told.counts[name] < MORE_THAN_FITS // 2, "16 MB of epochs are fewer records than that"
            lag = sum(vitals.lags().values())
            fill(broker, name, more)
            wait_until(lambda: sum(vitals.lags().values()) == lag + more, "the lag to grow", 30)
            catalog.execute("ROLLBACK")
        wait_until(lambda: told.counts[name] == MORE_THAN_FITS + more, "the rest to be read", 120)
    assert told.offsets[name] == MORE_THAN_FITS + more


def test_a_busy_topic_does_not_hold_up_quiet_ones(
    broker: Kafka, names: Callable[[int], list[str]], tmp_path: Path
) -> None:
    """Though what all epochs together may hold is less than the busy one's."""
    busy, *quiet = names(8)
    fill(broker, busy, MANY)
    for name in quiet:
        fill(broker, name, 3)
    entries = [BONDS | {"name": name, "table": f"ref.{name}"} for name in (busy, *quiet)]
    epochs = {"records": 10**9, "seconds": 0.5, "memory": "2MB"}
    lake = lake_at(tmp_path, broker, entries, commit=epochs)
    read, committed = Counter[str](), Counter[str]()
    with running(lake, watching=lambda name: Telling(name, read, committed)):
        wait_until(lambda: all(committed[name] == 3 for name in quiet), "the quiet ones", 120)
        assert committed[busy] < MANY, "the busy one is not done yet"
        wait_until(lambda: committed[busy] == MANY, "the busy one", 240)
