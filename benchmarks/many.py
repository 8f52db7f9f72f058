"""Many topics in one process: how fast a busy one is read, and how late quiet ones are committed."""

import json
import os
import signal
import statistics
import subprocess
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.figures import surroundings, table
from benchmarks.runner import command, machine, versions
from benchmarks.topics import Filling, broker, described, topic
from benchmarks.workload import Workload, lake

PAUSE = 1.0
"""Seconds between two records of a quiet topic."""
_SETTLING = 5.0
_LIMIT = 300.0
_BUSY = "bonds"
_LOOK = 0.1


@dataclass(frozen=True)
class Sent:
    """A record of a quiet topic."""

    dataset: str
    partition: int
    offset: int
    at: float


def measure(records: int, quiet: Sequence[int], seconds: float, kept: Path | None) -> dict[str, Any]:
    """Follow a busy topic to its end beside so many quiet ones.

    Args:
        records: in the busy topic, all there before the start.
        quiet: how many quiet topics; one run for each.
        seconds: `commit.seconds`.
        kept: where the broker keeps the busy topic from one time to the next.
    """
    workload, filling = Workload(records=records), Filling()
    with broker(kept) as cluster:
        busy = topic(cluster, workload, filling)
        before = machine()
        runs = [_run(cluster, busy, count, records, seconds, filling.partitions) for count in quiet]
    return {
        "machine": before,
        "versions": versions(),
        "conditions": {
            "records in the busy topic": records,
            "commit.seconds": seconds,
            "source": described(filling),
            "quiet topics": f"a record every {PAUSE:.0f} s each, one partition after the other",
        },
        "runs": runs,
    }


def report(result: dict[str, Any]) -> str:
    """A page about a result of `measure`."""
    return (
        "\n\n".join(
            [
                "# A busy topic beside quiet ones, in one process",
                (
                    "`bitlake run`, the broker on the same cores; a dataset to a topic. The rate is of the"
                    " busy one, from the first fetch to its last committed row; the seconds are of the"
                    " quiet ones, from a record's timestamp to its commit, while the busy one was read."
                ),
                table(
                    ("quiet topics", "records/s", "CPU s", "commit p50", "p95", "max", "commits"),
                    [_line(run) for run in result["runs"]],
                ),
                table(
                    ("what", "figure"),
                    [
                        *surroundings(result),
                        *((name, str(value)) for name, value in result["conditions"].items()),
                    ],
                ),
            ]
        )
        + "\n"
    )


def _line(run: dict[str, Any]) -> tuple[str, ...]:
    took = run["latencies"]
    cuts = statistics.quantiles(took, n=100, method="inclusive") if len(took) > 1 else []
    told = (f"{cuts[49]:.2f}", f"{cuts[94]:.2f}", f"{max(took):.2f}") if cuts else ("", "", "")
    return (
        str(run["quiet"]),
        f"{run['records_per_second']:,}",
        f"{run['cpu_seconds']:.1f}",
        *told,
        f"{run['commits']:,}",
    )


def _run(
    cluster: Any, busy: str, quiet: int, records: int, seconds: float, partitions: int
) -> dict[str, Any]:
    # Topics that a broker deleted may be there again when it is started anew.
    names = [f"quiet{number:02}_{uuid.uuid4().hex[:8]}" for number in range(quiet)]
    for name in names:
        cluster.create_topic(name, partitions, retention_ms=-1)
    sent: list[Sent] = []
    with tempfile.TemporaryDirectory(prefix="bitlake-many-") as folder:
        place = Path(folder)
        (place / "lake.yaml").write_text(_lake(cluster.properties, busy, names, seconds), encoding="utf-8")
        log = place / "log"
        with log.open("wb") as told:
            words = [command(), "--log-format", "json", "run"]
            process = subprocess.Popen(words, cwd=place, stdout=told, stderr=told)
        try:
            with _producing(cluster, names, partitions, sent):
                _wait_for(log, records, process)
        finally:
            os.kill(process.pid, signal.SIGTERM)  # it is there until it is waited for
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        lines = _lines(log)
        if process.returncode:
            raise RuntimeError(log.read_text()[-2000:])
    for name in names:
        cluster.delete_topic(name)
    return {
        "quiet": quiet,
        **_figures(lines, sent, records),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
    }


def _lake(properties: dict[str, str], busy: str, quiet: Sequence[str], seconds: float) -> str:
    config = YAML(typ="safe").load(lake(children=False, seconds_per_epoch=seconds, topic=busy))
    (dataset,) = config["datasets"]
    config["datasets"] += [
        {**dataset, "name": name, "topic": name, "table": f"bench.{name}"} for name in quiet
    ]
    return json.dumps(config | {"kafka": properties})


@contextmanager
def _producing(cluster: Any, names: Sequence[str], partitions: int, sent: list[Sent]) -> Iterator[None]:
    """A record to each quiet topic now and then, evenly spread over the time."""
    ended = threading.Event()

    def produce() -> None:
        producer, counts, turn = cluster.producer(linger_ms=5), Counter[tuple[str, int]](), 0
        begun = time.monotonic()
        while not ended.wait(max(0.0, begun + turn * PAUSE / len(names) - time.monotonic())):
            name, partition = names[turn % len(names)], turn // len(names) % partitions
            at = time.time_ns() // 1_000_000
            value = json.dumps({"isin": f"P{partition}", "from": _instant(turn), "terms": {"spread": turn}})
            producer.produce(name, value, partition=partition, timestamp=at)
            producer.poll(0)
            sent.append(Sent(name, partition, counts[name, partition], at / 1000))
            counts[name, partition] += 1
            turn += 1
        producer.flush(30)

    thread = threading.Thread(target=produce, name="produce")
    if names:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if names:
            thread.join()


def _instant(number: int) -> str:
    return datetime.fromtimestamp(1_000_000_000 + number * 60).astimezone().isoformat()


def _wait_for(log: Path, records: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the busy topic is committed to its end."""
    end, done, read = time.monotonic() + _LIMIT, 0, 0
    while done < records:
        gone = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        if gone or time.monotonic() > end:
            raise RuntimeError(f"{done} records were committed: {log.read_text()[-2000:]}")
        time.sleep(_LOOK)
        with log.open("rb") as file:
            file.seek(read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        read += len(whole)
        for line in whole.splitlines():
            found = json.loads(line) if line.startswith(b"{") else {}
            if found.get("event") == "committed" and found["dataset"] == _BUSY:
                done = sum(found["offsets"].values())


def _lines(log: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [{**line, "at": datetime.fromisoformat(line["timestamp"]).timestamp()} for line in found]


def _figures(lines: Sequence[dict[str, Any]], sent: Sequence[Sent], records: int) -> dict[str, Any]:
    commits = [line for line in lines if line["event"] == "committed"]
    busy = [line for line in commits if line["dataset"] == _BUSY]
    first = next(line["at"] for line in busy if not line["records"])
    last = next(line["at"] for line in busy if sum(line["offsets"].values()) == records)
    took = []
    for one in sent:
        # From when all are open: until then, time goes into making tables.
        if max(first, _all_open(commits)) + _SETTLING <= one.at < last - _SETTLING:
            done = (
                line["at"]
                for line in commits
                if line["dataset"] == one.dataset and line["offsets"].get(str(one.partition), 0) > one.offset
            )
            # One that was never committed before the end was late by at least this.
            took.append(round(next(done, lines[-1]["at"]) - one.at, 3))
    return {
        "records_per_second": round(records / (last - first)),
        "seconds": round(last - first, 2),
        "latencies": took,
        "commits": len(commits),
        "write_seconds": round(statistics.median(line["write_seconds"] for line in commits), 4),
        "commit_seconds": round(statistics.median(line["commit_seconds"] for line in commits), 4),
    }


def _all_open(commits: Sequence[dict[str, Any]]) -> float:
    """When the last dataset told of its beginnings."""
    firsts: dict[str, float] = {}
    for line in commits:
        firsts.setdefault(line["dataset"], line["at"])
    return max(firsts.values())
