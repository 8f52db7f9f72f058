"""A service that runs for minutes: what comes to it, and how its process is."""

import json
import random
import re
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException

from tests.faults.topics import PARTITIONS, Topic
from tests.model.decoding import Record
from tests.model.strategies import numbered

SOAKED: dict[str, Any] = {
    "name": "bonds",
    "table": "ref.bonds",
    "key": ["isin"],
    "valid_from": "at",
    "valid_to": "until",
    "operation": "action",
    "on_new_field": "ignore",
    "state_ttl": "40s",
    "columns": {"coupon": "decimal(12,6)", "issuer": "string", "size": "long"},
    "children": [{"path": "calls", "key": ["n"], "columns": {"n": "long", "price": "decimal(9,3)"}}],
}
KEYS, GROUP, GROUP_SECONDS = 400, 40, 30.0
"""Keys come in groups, one after the other: the others rest meanwhile, for longer than `state_ttl`."""
KEPT_SNAPSHOTS = 20


class Feed:
    """Random records that are sent as time passes.

    Args:
        topic: where to.
        seed: of the records.
    """

    def __init__(self, topic: Topic, seed: int) -> None:
        self._topic, self._random = topic, random.Random(seed)
        self._producer = topic.broker.producer(compression_type="lz4")
        self._begun = time.time()
        self._ends = dict.fromkeys(range(PARTITIONS), 0)
        self.sent: list[Record] = []

    def send(self, count: int) -> None:
        """Send so many more."""
        for record in numbered([self._record() for _ in range(count)], PARTITIONS):
            sent = replace(record, offset=self._ends[record.partition])
            self._ends[record.partition] += 1
            stamp = sent.timestamp // 1000
            self._producer.produce(
                self._topic.name, sent.value, sent.key, partition=sent.partition, timestamp=stamp
            )
            self.sent.append(replace(sent, timestamp=stamp * 1000))
        self._producer.poll(0)

    def close(self) -> None:
        """Wait until all are in the topic."""
        assert self._producer.flush(60) == 0

    def _record(self) -> Record:
        """Of a key of the group whose turn it is, or of any; now and then late, broken or a tombstone."""
        chance, now = self._random.random, time.time()
        turn = int((now - self._begun) / GROUP_SECONDS) * GROUP
        key = f"K{(turn + self._random.randrange(GROUP)) % KEYS}"
        if chance() < 0.02:
            key = f"K{self._random.randrange(KEYS)}"
        stamp = int(now * 1e6) - (self._random.randrange(30_000_000) if chance() < 0.1 else 0)
        if chance() < 0.02:
            return Record(None, stamp, key.encode())
        document: dict[str, Any] = {"isin": key, "at": self._day(1, 300)}
        document["action"] = self._random.choices(("put", "patch", "delete", "retract"), (8, 5, 1, 1))[0]
        if chance() < 0.1:
            document["until"] = self._day(301, 365)
        for name, values in (("issuer", "ABC"), ("coupon", ("1.5", "2.25")), ("size", (1, 2, 3))):
            if chance() < 0.6:
                document[name] = self._random.choice(values)
        if chance() < 0.3:
            document["calls"] = [
                {"n": n, "price": f"{self._random.randrange(9)}.5"} for n in range(3) if chance() < 0.5
            ]
        text = json.dumps(document).encode()
        return Record(text[:-3] if chance() < 0.01 else text, stamp)

    def _day(self, first: int, last: int) -> str:
        return time.strftime(
            "%Y-%m-%d", time.gmtime(1_704_067_200 + 86_400 * self._random.randint(first, last))
        )


@dataclass(frozen=True)
class Look:
    """How a process is: memory of its own share in bytes, open files, threads."""

    pss: int
    files: int
    threads: int

    @staticmethod
    def at(process: int) -> "Look":
        """How it is now."""
        place = Path(f"/proc/{process}")
        found = re.search(r"^Pss:\s+(\d+) kB", (place / "smaps_rollup").read_text(), re.MULTILINE)
        assert found is not None
        count = [sum(1 for _ in (place / part).iterdir()) for part in ("fd", "task")]
        return Look(int(found[1]) << 10, *count)


@dataclass(frozen=True)
class Growth:
    """Medians of the first and of the last third of looks, once the process is warm."""

    pss: tuple[float, float]
    files: tuple[float, float]
    threads: tuple[float, float]

    @staticmethod
    def of(looks: Sequence[Look]) -> "Growth":
        """From all looks of a run; the first quarter is warming up."""
        warm = looks[len(looks) // 4 :]
        third = len(warm) // 3
        parts = warm[:third], warm[-third:]
        return Growth(
            *(
                (median(getattr(a, name) for a in parts[0]), median(getattr(a, name) for a in parts[1]))
                for name in ("pss", "files", "threads")
            )
        )


def metrics(port: int) -> dict[str, float]:
    """What a process tells Prometheus: sums over all labels, by name."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found: dict[str, float] = {}
    for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#")):
        plain = name.partition("{")[0]
        found[plain] = found.get(plain, 0.0) + float(value)
    return found


def expire(catalog: Catalog, identifiers: Sequence[str]) -> int:
    """Expire all but the newest snapshots of tables, as others would while they are written; how many went."""
    gone = 0
    for identifier in identifiers:
        table = catalog.load_table(identifier)
        old = [s.snapshot_id for s in table.metadata.snapshots[:-KEPT_SNAPSHOTS]]
        if old:
            try:
                table.maintenance.expire_snapshots().by_ids(old).commit()
                gone += len(old)
            except CommitFailedException:
                continue  # the service was quicker; next time
    return gone
