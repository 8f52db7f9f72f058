"""`bitlake run` on a real broker: rows, counts, offsets and horizons."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import Lake
from pipeline.errors import BitlakeError, Refused
from tests.kafka_broker import Kafka, wait_until
from tests.model.compare import history_json
from tests.model.decoding import Record
from tests.model.oracle import Model
from tests.model.strategies import numbered, random_stream
from tests.property.differential import COUNTS, different, objects

pytestmark = pytest.mark.servers
NO_LIFTS = {"time": {"idle_margin": "36500d", "max_ahead": "36500d"}}
BONDS = {"name": "bonds", "table": "ref.bonds", "key": ["isin"], "valid_from": "from"}


def bond(isin: str, rate: int, start: str = "2024-01-01") -> bytes:
    return json.dumps({"isin": isin, "from": start, "rate": rate}).encode()


@pytest.fixture
def topic(broker: Kafka) -> str:
    name = f"t{uuid.uuid4().hex[:12]}"
    broker.create_topic(name, 3, retention_ms=-1)
    return name


def lake_at(folder: Path, broker: Kafka, datasets: Sequence[dict[str, Any]], **settings: Any) -> Lake:
    content = {"kafka": broker.properties, "datasets": list(datasets), **settings}
    (folder / "lake.yaml").write_text(json.dumps(content))
    return Lake.open(folder / "lake.yaml", {})


def send(broker: Kafka, topic: str, records: Sequence[Record]) -> None:
    producer = broker.producer(compression_type="lz4")
    for record in records:
        stamp = record.timestamp // 1000
        producer.produce(topic, record.value, record.key, partition=record.partition, timestamp=stamp)
    assert producer.flush(60) == 0


@contextmanager
def running(lake: Lake, **how: Any) -> Iterator[None]:
    stop, failures = threading.Event(), []

    def run() -> None:
        try:
            lake.run(stop=stop, **how)
        except BitlakeError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(120)
    assert not failures
    assert not thread.is_alive()


def committed(lake: Lake) -> int:
    """Records committed so far, by the offsets."""
    position = lake.status()[0].position
    return sum(position.offsets.values()) if position else 0


@pytest.mark.parametrize(("seed", "client"), [(5, "batches"), (6, "batches"), (7, "librdkafka")])
def test_histories_equal_the_model(broker: Kafka, topic: str, tmp_path: Path, seed: int, client: str) -> None:
    stream, choose = random_stream(seed, 90), random.Random(seed)
    whole = [replace(r, timestamp=max(r.timestamp, 0) // 1000 * 1000) for r in stream.records]
    records = numbered(whole, partitions=3)
    model = Model(stream.entry).run(records)
    epochs = {"records": choose.choice((1, 7, 1000)), "seconds": 3600}
    kafka = broker.properties | {"bitlake.client": client}
    lake = lake_at(
        tmp_path, broker, [stream.entry | {"topic": topic}], kafka=kafka, commit=epochs, **NO_LIFTS
    )
    total = dict.fromkeys(COUNTS, 0)
    for start, end in ((0, 40), (40, 41), (41, len(records))):
        send(broker, topic, records[start:end])
        summary = lake.run(until_end=True)
        total = {name: count + getattr(summary, name) for name, count in total.items()}
    assert total == {name: getattr(model.counts, name) for name in COUNTS}
    for table in lake.tables:
        mine = [row | {"source_topic": None} for row in objects(lake.history(table, provenance=True))]
        assert "\n".join(different(table, mine, history_json(model, table))) == ""


def test_dead_letters_keep_key_value_and_headers(broker: Kafka, topic: str, tmp_path: Path) -> None:
    lake = lake_at(tmp_path, broker, [BONDS | {"topic": topic}])
    producer = broker.producer()
    producer.produce(topic, b'{"isin', key=b"\xff", partition=2, headers=[("trace", b"7"), ("raw", b"\xfe")])
    producer.produce(topic, bond("A", 1), partition=2)
    producer.produce(topic, None, key=None, partition=1)
    producer.flush()
    summary = lake.run(until_end=True)
    assert (summary.records, summary.changes, summary.dead_letters) == (3, 1, 2)
    letters = lake.dead_letters()
    assert letters is not None
    found = {(r["partition"], r["offset"]): r for r in letters.waiting().to_pylist()}
    first = found[2, 0]
    assert (first["key"], first["value"]) == (b"\xff", b'{"isin')
    assert json.loads(first["headers"]) == [
        {"name": "trace", "value": "7"},
        {"name": "raw", "base64": "/g=="},
    ]
    assert (found[1, 0]["key"], found[1, 0]["value"], found[1, 0]["headers"]) == (None, None, None)


def test_a_backfill_from_files_comes_before_the_topic(broker: Kafka, topic: str, tmp_path: Path) -> None:
    lake = lake_at(tmp_path, broker, [BONDS | {"topic": topic}])
    (tmp_path / "old.jsonl").write_bytes(b"\n".join(bond(f"F{n}", n) for n in range(5)))
    lake.load_files("bonds", [tmp_path / "old.jsonl"])
    before = lake.status()[0].position
    old = [Record(bond(f"K{n}", n), 1000_000 + n * 1000, partition=n % 3) for n in range(9)]
    send(broker, topic, old)
    assert lake.run(until_end=True).changes == 9
    after = lake.status()[0].position
    assert after.offsets == {-1: 5, 0: 3, 1: 3, 2: 3}
    starts = {row["isin"]: row["system_from"] for row in lake.history("bonds").to_pylist()}
    horizon = lake.asof("bonds", system=_spelled(before.horizon), valid="2024-06-01")
    assert len(horizon) == 0, "what the topic tells is not believed before the horizon of the files"
    assert min(starts[f"K{n}"] for n in range(9)).timestamp() * 1e6 > before.horizon
    (tmp_path / "more.jsonl").write_bytes(bond("F9", 9))
    lake.load_files("bonds", [tmp_path / "more.jsonl"])
    assert lake.status()[0].position.offsets == {-1: 6, 0: 3, 1: 3, 2: 3}
    assert lake.run(until_end=True).records == 0


def _spelled(micros: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(micros / 1e6)) + f".{micros % 10**6:06d}Z"


def test_the_horizon_rises_while_nothing_comes(broker: Kafka, topic: str, tmp_path: Path) -> None:
    """One partition stays empty; still what was read becomes final, and never changes afterwards."""
    settings = {"time": {"idle_margin": "1s"}, "commit": {"records": 1000, "seconds": 0.2}}
    lake = lake_at(tmp_path, broker, [BONDS | {"topic": topic}], **settings)
    now = time.time_ns() // 1000
    send(broker, topic, [Record(bond("A", 1), now, partition=0), Record(bond("B", 2), now, partition=1)])
    with running(lake):
        wait_until(lambda: _horizon(lake) >= now, "the horizon to pass the records", 60)
    horizon = _spelled(_horizon(lake))
    before = objects(lake.timeline("bonds", system=horizon))
    assert len(before) == 2
    send(broker, topic, [Record(bond("C", 3), now - 3600_000_000, partition=2)])
    assert lake.run(until_end=True).changes == 1
    assert objects(lake.timeline("bonds", system=horizon)) == before


def _horizon(lake: Lake) -> int:
    position = lake.status()[0].position
    return -1 if position is None else position.horizon


def test_sigterm_drains_and_exits_0(broker: Kafka, topic: str, tmp_path: Path) -> None:
    lake_at(tmp_path, broker, [BONDS | {"topic": topic}], commit={"records": 10**6, "seconds": 3600})
    send(broker, topic, [Record(bond(f"A{n}", n), 1000_000, partition=n % 3) for n in range(1000)])
    command = [sys.executable, "-m", "pipeline.cli.main", "run", "-v", "--output", "json"]
    command[1:3] = ["-c", "from pipeline.cli.main import main; main()"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}
    ) as process:
        try:
            _wait_for_line(process, b"read to the end")
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["changes"] == 1000


def _wait_for_line(process: "subprocess.Popen[bytes]", text: bytes) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError("the process ended")


def test_many_datasets_in_one_process(broker: Kafka, tmp_path: Path) -> None:
    names = [f"d{n}{uuid.uuid4().hex[:6]}" for n in range(5)]
    for name in names:
        broker.create_topic(name, 2, retention_ms=-1)
        send(broker, name, [Record(bond(f"{name}{n}", n), 1000_000, partition=n % 2) for n in range(50)])
    entries = [BONDS | {"name": name, "table": f"ref.{name}"} for name in names]
    lake = lake_at(tmp_path, broker, entries)
    assert lake.run(until_end=True).changes == 250
    assert {s.dataset: sum(s.position.offsets.values()) for s in lake.status()} == dict.fromkeys(names, 50)


def test_a_key_in_two_partitions_is_told(
    broker: Kafka, topic: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lake = lake_at(tmp_path, broker, [BONDS | {"topic": topic}])
    send(broker, topic, [Record(bond("A", n), 1000_000, partition=n % 2) for n in range(4)])
    assert lake.run(until_end=True).records == 4
    assert [r.keys for r in caplog.records if "second partition" in r.message] == [1]


def test_a_topic_made_anew_is_refused(broker: Kafka, topic: str, tmp_path: Path) -> None:
    lake = lake_at(tmp_path, broker, [BONDS | {"topic": topic}])
    send(broker, topic, [Record(bond("A", 1), 1000_000)])
    lake.run(until_end=True)
    broker.delete_topic(topic)
    broker.create_topic(topic, 3, retention_ms=-1)
    with pytest.raises(Refused, match="made anew"):
        lake.run(until_end=True)
