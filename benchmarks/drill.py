"""The drill: a quiet time, a scheduled scale-up, a burst, its last record in Trino, the scale-down."""

import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.append_upsert.servers import cpu_seconds, cpu_since, servers
from benchmarks.append_upsert.subjects import Subject
from benchmarks.figures import surroundings, table
from benchmarks.runner import bitlake, command, committed, machine, versions
from benchmarks.topics import Filling, kafka_of, message, send
from benchmarks.workload import Workload
from pipeline.errors import BitlakeError
from pipeline.views.trino_client import TrinoClient

TOPIC, SUBJECT = "drill", Subject("bonds", "append")
LAST = "XS999999999"
"""Keys of our own: the last record of each partition."""
_TICK, _LOOK, _PATIENCE = 0.1, 0.2, 900.0
_BURST = 10_000
_LEAD = timedelta(seconds=15)
"""Of the quiet time, at least."""


@dataclass(frozen=True)
class Scaling:
    """What the schedule says.

    Attributes:
        low, high: parallelisms of the job in quiet times and for the burst.
        minutes: from the scale-up to the scale-down.
    """

    low: int = 1
    high: int = 2
    minutes: int = 5

    def lines(self, up: datetime) -> str:
        """The schedule, as cron has it."""
        down = up + timedelta(minutes=self.minutes)
        return f"{up:%M %H} * * * {self.high}\n{down:%M %H} * * * {self.low}\n"


class Traffic:
    """Sends a workload's records to the topic, as fast as it is told.

    Attributes:
        partitions: of the topic.
        sent: how many records.
    """

    def __init__(self, cluster: Any, data: Path, partitions: int) -> None:
        self._producer = cluster.producer(compression_type="lz4", queue_buffering_max_messages=1_000_000)
        self._lines, self.partitions, self.sent = _lines(data), partitions, 0

    def trickle(self, rate: int, until: Callable[[], bool]) -> None:
        """Send so many records a second until something is so."""
        end = time.monotonic() + _PATIENCE
        while not until():
            self._send(max(1, int(rate * _TICK)))
            time.sleep(_TICK)
            if time.monotonic() > end:
                raise TimeoutError(f"it did not come about within {_PATIENCE:.0f} s")

    def burst(self, count: int) -> float:
        """Send so many records as fast as they go, and each partition's last one; when that was."""
        for first in range(0, count, _BURST):
            self._send(min(_BURST, count - first))
        now = time.time()
        for number in range(self.partitions):
            key = f"{LAST}{number}"
            value = {"isin": key, "from": datetime.now(UTC).isoformat(), "terms": {"spread": 1}, "calls": []}
            self._producer.produce(
                TOPIC, json.dumps(value).encode(), key, partition=number, timestamp=int(now * 1000)
            )
        self.sent += self.partitions
        if self._producer.flush(600):
            raise TimeoutError("the broker did not take all records in ten minutes")
        return now

    def _send(self, count: int) -> None:
        messages = [message(line, self.partitions) for line in islice(self._lines, count)]
        send(self._producer, TOPIC, messages)
        self.sent += len(messages)


def _lines(data: Path) -> Iterator[bytes]:
    with data.open("rb") as lines:
        yield from lines


def measure(workload: Workload, scaling: Scaling, *, rate: int, memory: str) -> dict[str, Any]:
    """Go through the drill on a stack of its own.

    Args:
        workload: the burst's records; those of the quiet times are like them.
        scaling: the schedule.
        rate: records a second in the quiet times.
        memory: of each TaskManager.
    """
    before, filling = machine(), Filling()
    with servers(None, scaling.high, memory) as stack, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "records.jsonl"
        replace(workload, records=workload.records + int(2 * rate * _PATIENCE)).write(data)
        cluster = kafka_of(stack, folder)
        cluster.create_topic(TOPIC, filling.partitions, retention_ms=-1)
        SUBJECT.write(folder, stack, TOPIC, "10s", children=True)
        traffic = Traffic(cluster, data, filling.partitions)
        drill = _Drill(stack, folder, traffic, scaling, rate)
        return {
            "machine": before,
            "versions": versions(),
            "conditions": {
                "workload": asdict(workload),
                "scaling": asdict(scaling),
                "records_per_second_in_quiet": rate,
                "partitions": filling.partitions,
                "checkpoint_interval": "10s",
                "task_manager_memory": memory,
            },
            **drill.run(workload.records),
        }


class _Drill:
    def __init__(self, stack: Any, folder: Path, traffic: Traffic, scaling: Scaling, rate: int) -> None:
        self._stack, self._folder, self._traffic = stack, folder, traffic
        self._scaling, self._rate = scaling, rate
        self._trino = TrinoClient(stack.trino.address)

    def run(self, records: int) -> dict[str, Any]:
        traffic, scaling = self._traffic, self._scaling
        bitlake(self._folder, "submit", "--parallelism", str(scaling.low))
        traffic.trickle(self._rate, lambda: committed(self._folder) > 0)
        bitlake(self._folder, "views", "--catalog", "lake", "--trino", self._stack.trino.address)
        up = _minute(datetime.now(UTC) + _LEAD)
        with self._keeper(scaling.lines(up)) as told:
            scaled_up = self._scaled(told, up)
            before, begun = cpu_seconds(self._stack), time.time()
            last = traffic.burst(records)
            seen, used = self._seen(last), cpu_since(self._stack, before)
            scaled_down = self._scaled(told, up + timedelta(minutes=scaling.minutes))
        bitlake(self._folder, "submit", "--stop")
        return {
            "scale_up": scaled_up,
            "burst": {"records": records, "sending_seconds": round(last - begun, 3)},
            **seen,
            "cpu_seconds": used,
            "scale_down": scaled_down,
            "sent": traffic.sent,
            "committed": committed(self._folder),
        }

    def _scaled(self, told: Callable[[], list[dict[str, Any]]], due: datetime) -> dict[str, Any]:
        """Send few records until the job has got its next parallelism; what the keeper tells of it."""
        known = len(told())
        self._traffic.trickle(self._rate, lambda: len(told()) > known)
        late = (datetime.now(UTC) - due).total_seconds()
        return {"seconds_after_due": round(late, 3), **told()[-1]}

    def _seen(self, last: float) -> dict[str, float]:
        """Wait until all records are committed and the last ones visible; seconds since these were sent."""
        found, end = dict[str, float](), time.monotonic() + _PATIENCE
        checks = {"visible_seconds": self._visible, "committed_seconds": self._drained}
        while len(found) < len(checks):
            for name, check in checks.items():
                if name not in found and check():
                    found[name] = round(time.time() - last, 3)
            time.sleep(_LOOK)
            if time.monotonic() > end:
                raise TimeoutError(f"the burst was not drained within {_PATIENCE:.0f} s: {found}")
        return found

    def _visible(self) -> bool:
        found = self._trino.ask(
            f"SELECT count(*) FROM lake.{SUBJECT.table}_current WHERE isin LIKE '{LAST}%'"
        )
        return bool(found.rows[0][0] == self._traffic.partitions)

    def _drained(self) -> bool:
        return committed(self._folder) == self._traffic.sent

    @contextmanager
    def _keeper(self, schedule: str) -> Iterator[Callable[[], list[dict[str, Any]]]]:
        """Keep the job to a schedule; gives what tells of the changes so far."""
        file, out = self._folder / "schedule", self._folder / "keeper"
        file.write_text(schedule)
        words = [command(), "rescale", "--schedule", str(file), "--patience", "600", "--output", "json"]
        with out.open("wb") as log, out.with_suffix(".log").open("wb") as errors:
            process = subprocess.Popen(words, cwd=self._folder, stdout=log, stderr=errors)

        def told() -> list[dict[str, Any]]:
            if process.poll() is not None:
                raise BitlakeError(
                    f"the keeper of the schedule ended: {out.with_suffix('.log').read_text()[-2000:]}"
                )
            return [json.loads(line) for line in out.read_text().splitlines()]

        try:
            yield told
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(600)


def _minute(moment: datetime) -> datetime:
    """The next full minute."""
    return moment.replace(second=0, microsecond=0) + timedelta(minutes=1)


def report(result: dict[str, Any]) -> str:
    """The figures as a page."""
    conditions, burst = result["conditions"], result["burst"]
    drained = burst["sending_seconds"] + result["committed_seconds"]
    rows = [
        (
            f"scheduled scale-up to {result['scale_up']['parallelism']}: its minute to a job that runs",
            result["scale_up"]["seconds_after_due"],
        ),
        ("of these no job ran", result["scale_up"]["outage_seconds"]),
        (f"burst: {burst['records']:,} records sent in", burst["sending_seconds"]),
        ("all committed, from the burst's begin", drained),
        ("last records visible in Trino, from their timestamps", result["visible_seconds"]),
        (
            f"scheduled scale-down to {result['scale_down']['parallelism']}: its minute to a job that runs",
            result["scale_down"]["seconds_after_due"],
        ),
        ("of these no job ran", result["scale_down"]["outage_seconds"]),
    ]
    told = [
        *surroundings(result),
        *((name.replace("_", " "), str(value)) for name, value in conditions.items()),
        (
            "records/s, from the burst's begin to its last commit",
            f"{burst['records'] / drained:,.0f}",
        ),
        ("CPU s during the burst", ", ".join(f"{k} {v}" for k, v in result["cpu_seconds"].items())),
        ("records sent, and committed", f"{result['sent']:,}, {result['committed']:,}"),
    ]
    return (
        "# A drill: quiet, scale-up, burst, drained, visible, scale-down\n\n"
        + table(("what", "seconds"), [(name, f"{value:.1f}") for name, value in rows])
        + "\n\n"
        + table(("what", "figure"), told)
        + "\n"
    )
