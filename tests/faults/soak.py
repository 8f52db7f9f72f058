"""A service that runs for minutes: what comes to it, and how its process is."""

import json
import random
import re
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from pipeline.sink.files import FileName, new_attempt, write_rows
from pipeline.sink.planning import data_files
from tests.faults.topics import PARTITIONS, Topic
from tests.model.decoding import Record

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
COMMITS = 30
"""Tries of a commit beside the service's own."""


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
        for _ in range(count):
            key = self._key()
            partition = sum(key.encode()) % PARTITIONS
            value, stamp = self._value(key), self._stamp()
            self._producer.produce(
                self._topic.name, value, key.encode(), partition=partition, timestamp=stamp
            )
            offset = self._ends[partition]
            self.sent.append(Record(value, stamp * 1000, key.encode(), partition, offset))
            self._ends[partition] += 1
        self._producer.poll(0)

    def close(self) -> None:
        """Wait until all are in the topic."""
        assert self._producer.flush(60) == 0

    def _key(self) -> str:
        """Of the group whose turn it is; now and then any."""
        turn = int((time.time() - self._begun) / GROUP_SECONDS) * GROUP
        some, any_ = self._random.randrange(GROUP), self._random.randrange(KEYS)
        return f"K{any_ if self._random.random() < 0.002 else (turn + some) % KEYS}"

    def _stamp(self) -> int:
        """Now in milliseconds; now and then late."""
        late = self._random.randrange(30_000) if self._random.random() < 0.1 else 0
        return int(time.time() * 1000) - late

    def _value(self, key: str) -> bytes | None:
        """A change, a tombstone or something broken."""
        chance = self._random.random
        if chance() < 0.02:
            return None
        document: dict[str, Any] = {"isin": key, "at": self._day(1, 300)}
        document["action"] = self._random.choices(("put", "patch", "delete", "retract"), (8, 5, 1, 1))[0]
        if chance() < 0.1:
            document["until"] = self._day(301, 365)
        for name, values in (("issuer", "ABC"), ("coupon", ("1.5", "2.25")), ("size", (1, 2, 3))):
            if chance() < 0.6:
                document[name] = self._random.choice(values)
        if chance() < 0.3:
            numbers = [n for n in range(3) if chance() < 0.5]
            document["calls"] = [{"n": n, "price": f"{self._random.randrange(9)}.5"} for n in numbers]
        text = json.dumps(document).encode()
        return text[:-3] if chance() < 0.01 else text

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


def look_after(catalog: Catalog, identifiers: Sequence[str]) -> int:
    """Put one file in the place of a table's many, and expire old snapshots, while the tables are written.

    Returns:
        How many snapshots went.
    """
    gone = 0
    for identifier in identifiers:
        table = catalog.load_table(identifier)
        many = [task.file for task in data_files(table)]
        if len(many) > 1:
            rows = table.scan().to_arrow()
            one = list(write_rows(table, [rows], FileName("others", 0, new_attempt()), "all"))
            _until_quicker(catalog, identifier, partial(_replace, many, one))
        old = [s.snapshot_id for s in catalog.load_table(identifier).metadata.snapshots[:-KEPT_SNAPSHOTS]]
        if old:
            _until_quicker(
                catalog, identifier, lambda t, old=old: t.maintenance.expire_snapshots().by_ids(old).commit()
            )
        gone += len(old)
    return gone


def _replace(many: Sequence[DataFile], one: Sequence[DataFile], table: Table) -> None:
    with table.transaction() as transaction, transaction.update_snapshot().overwrite() as update:
        for file in many:
            update.delete_data_file(file)
        for file in one:
            update.append_data_file(file)


def _until_quicker(catalog: Catalog, identifier: str, commit: Callable[[Table], Any]) -> None:
    """Commit to a table that another writer commits to all the time."""
    for _ in range(COMMITS):
        try:
            commit(catalog.load_table(identifier))
            return
        except (CommitFailedException, ValidationException):
            continue
    raise AssertionError(f"{identifier}: the service was quicker {COMMITS} times")
