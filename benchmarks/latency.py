"""How long after its timestamp a record is visible in a new `asof`, while records come at an even pace."""

import json
import multiprocessing
import os
import signal
import sqlite3
import statistics
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.figures import gigabytes, surroundings, table
from benchmarks.runner import MemoryWatcher, command, machine, versions
from benchmarks.topics import Filling, broker, described
from benchmarks.workload import Workload, lake
from pipeline.lake import Lake

TOPIC = "latency"
PROBE = "XS9999999999"
"""A key of our own: its latest value's spread says which probe was the last that is visible."""
TICK = 0.1
"""Seconds between two bursts; each brings a probe."""
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)
_START_UP = 120.0
"""Seconds that the service may take until its table is there; only then records are sent."""
_SETTLING = 5.0
"""Seconds after the first answer that don't count."""
_PATIENCE = 60.0
"""Seconds until an answer that does not come is an error."""
_LOOK = 0.02
_LEAST = 100
_ROOM = {"queue.buffering.max.messages": 1_000_000}


def measure(rate: int, seconds: int, *, children: bool, epoch_seconds: float = 1.0) -> dict[str, Any]:
    """Run the service while a producer on the same cores sends records, and ask for what it sends.

    Args:
        rate: records per second.
        seconds: how long.
        children: with the child table.
        epoch_seconds: `commit.seconds` of the lake.

    Returns:
        Machine, versions, conditions, and seconds from each probe's timestamp to the first answer with it:
        a new question of a warm process, asked whenever the table has a new snapshot.
    """
    workload, filling = Workload(records=rate * (seconds + 15), keys=100_000), Filling()
    with tempfile.TemporaryDirectory(prefix="bitlake-latency-") as name, broker(None) as cluster:
        folder = Path(name)
        data = folder / "records.jsonl"
        workload.write(data)
        cluster.create_topic(TOPIC, filling.partitions, retention_ms=-1)
        config = lake(children=children, seconds_per_epoch=epoch_seconds, topic=TOPIC)
        (folder / "lake.yaml").write_text(config + f"\nkafka: {json.dumps(cluster.properties)}\n")
        found: dict[str, Any] = {"machine": machine(), "versions": versions()}
        sent = multiprocessing.get_context("spawn").Array("d", int((seconds + 15) / TICK) + 2)
        with _service(folder) as watcher:
            _wait_for_table(folder)
            before = time.monotonic()
            with _producer(cluster.properties, data, rate, sent):
                asked = _answered(folder, sent, seconds)
            found["seconds"] = round(time.monotonic() - before, 1)
        found |= {"peak_pss": watcher.peak, "epochs": _snapshots(folder / "lake.yaml")}
    conditions = {
        "records per second": rate,
        "commit.seconds": epoch_seconds,
        "child table": children,
        "source": described(filling),
        "load": f"{os.getloadavg()[0]:.2f} afterwards",
    }
    return found | {
        "conditions": conditions,
        "latencies": [round(one, 3) for one in asked.took],
        "thirds": [round(_p95(part), 3) for part in _thirds(asked.took)],
        "questions": {"count": len(asked.seconds), "p50": round(statistics.median(asked.seconds), 3)},
    }


def report(result: dict[str, Any]) -> str:
    """A page about a result of `measure`."""
    cuts = statistics.quantiles(result["latencies"], n=100, method="inclusive")
    rows = [("p50", 49), ("p95", 94), ("p99", 98)]
    return (
        "\n\n".join(
            [
                "# From a record's timestamp to its answer",
                (
                    "`bitlake run` while a producer sends at an even pace; broker, producer and the process"
                    " that asks are on the same cores. A question is asked anew whenever the table has a new"
                    " snapshot; seconds are from a record's timestamp to the first answer that has it."
                ),
                table(
                    ("what", "seconds"),
                    [
                        *((name, f"{cuts[at]:.2f}") for name, at in rows),
                        ("max", f"{max(result['latencies']):.2f}"),
                        (
                            "p95 of the first, second and last third",
                            ", ".join(f"{one:.2f}" for one in result["thirds"]),
                        ),
                        ("of these the question itself, p50", f"{result['questions']['p50']:.3f}"),
                    ],
                ),
                table(
                    ("what", "figure"),
                    [
                        *surroundings(result),
                        *((name, str(value)) for name, value in result["conditions"].items()),
                        ("records asked for", str(len(result["latencies"]))),
                        ("snapshots", f"{result['epochs']} in {result['seconds']} s"),
                        ("peak PSS", gigabytes(result["peak_pss"])),
                    ],
                ),
            ]
        )
        + "\n"
    )


@contextmanager
def _service(folder: Path) -> Iterator[MemoryWatcher]:
    with (folder / "log").open("wb") as log:
        words = [command(), "--log-format", "json", "run", "bonds"]
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)
    watcher = MemoryWatcher(process.pid)
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.stop()
        process.send_signal(signal.SIGTERM)
        if process.wait(120):
            raise RuntimeError((folder / "log").read_text()[-2000:])


@contextmanager
def _producer(properties: dict[str, str], data: Path, rate: int, sent: Any) -> Iterator[None]:
    process = multiprocessing.get_context("spawn").Process(target=_send, args=(properties, data, rate, sent))
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _send(properties: dict[str, str], data: Path, rate: int, sent: Any) -> None:
    """Send bursts of records, each ended by a probe, whose timestamp is left in `sent`."""
    from confluent_kafka import Producer

    producer = Producer(
        {**properties, "linger.ms": 20, "batch.size": 1 << 20, "compression.type": "lz4"} | _ROOM
    )
    with data.open("rb") as lines:
        begun = time.monotonic()
        for number in range(1, len(sent)):
            burst = list(islice(lines, int(rate * TICK)))
            if not burst:
                return
            for first in range(0, len(burst), 2000):
                part = burst[first : first + 2000]
                producer.produce_batch(
                    TOPIC,
                    [
                        {"value": line[:-1], "key": line[9:21], "partition": zlib.crc32(line[9:21]) & 3}
                        for line in part
                    ],
                )
                producer.poll(0)
            now = time.time_ns() // 1_000_000
            valid_from = (_FIRST + timedelta(hours=number)).isoformat()
            value = json.dumps({"isin": PROBE, "from": valid_from, "terms": {"spread": number}}).encode()
            sent[number] = now / 1000
            producer.produce(TOPIC, value, PROBE.encode(), partition=0, timestamp=now)
            time.sleep(max(0.0, begun + number * TICK - time.monotonic()))


@dataclass
class Asked:
    """What asking found.

    Attributes:
        took: seconds from each probe's timestamp to the answer that has it, in order.
        seconds: that each question took.
    """

    took: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def _answered(folder: Path, sent: Any, seconds: int) -> Asked:
    """Ask until so many seconds after the first answer."""
    lake, catalog, asked = Lake.open(folder / "lake.yaml"), _catalog(folder), Asked()
    seen, last, settled = 0, None, 0.0
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        time.sleep(_LOOK)
        at = _metadata(catalog)
        if at == last:
            continue
        begun = time.monotonic()
        last, answer = at, lake.asof("bonds", key={"isin": PROBE})
        now, newest = time.time(), answer["spread"][0].as_py() if len(answer) else 0
        if newest and not settled:
            settled = time.monotonic() + _SETTLING
            end = settled + seconds
        elif settled and time.monotonic() > settled:
            asked.took += [now - sent[number] for number in range(seen + 1, newest + 1)]
            asked.seconds.append(time.monotonic() - begun)
        seen = max(seen, newest)
    if len(asked.took) < _LEAST:
        raise RuntimeError(f"only {len(asked.took)} probes came: {(folder / 'log').read_text()[-3000:]}")
    return asked


def _wait_for_table(folder: Path) -> None:
    """Wait until the service has told where it begins to read."""
    end = time.monotonic() + _START_UP
    while _metadata(_catalog(folder)) is None:
        if time.monotonic() > end:
            raise RuntimeError(f"the service did not start: {(folder / 'log').read_text()[-3000:]}")
        time.sleep(_LOOK)


def _catalog(folder: Path) -> Path:
    return folder / ".bitlake" / "catalog.db"


def _p95(took: Sequence[float]) -> float:
    return statistics.quantiles(took, n=20, method="inclusive")[18]


def _thirds(took: Sequence[float]) -> list[Sequence[float]]:
    """The first, second and last third."""
    cut = len(took) // 3
    return [took[:cut], took[cut : 2 * cut], took[2 * cut :]]


def _metadata(catalog: Path) -> str | None:
    """Where the table's metadata is now."""
    if not catalog.exists():
        return None
    with sqlite3.connect(f"file:{catalog}?mode=ro", uri=True, timeout=5) as connection:
        try:
            query = "SELECT metadata_location FROM iceberg_tables WHERE table_name = 'bonds'"
            found = connection.execute(query).fetchone()
        except sqlite3.OperationalError:
            return None
    return found[0] if found else None


def _snapshots(config: Path) -> int:
    position = Lake.open(config).status()[0].position
    return position.epoch if position else 0
