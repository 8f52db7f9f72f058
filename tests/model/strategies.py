"""Streams of records of random datasets, for hypothesis (`streams`) and by seed (`random_stream`)."""

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from .choices import Drawn, Seeded
from .decoding import Record
from .generate import Entry, make_close_entry, make_close_record, make_entry, make_record


@dataclass(frozen=True)
class Stream:
    """A dataset's entry in lake.yaml, and its records in order."""

    entry: Entry
    records: list[Record]

    def envelope_lines(self) -> list[bytes]:
        """The records as lines for ``load --envelope``."""
        return [envelope_line(record) for record in self.records]

    def plain_lines(self) -> list[bytes]:
        """The records that are no tombstones as lines for ``load``."""
        return [record.value for record in self.records if record.value is not None]


def envelope_line(record: Record) -> bytes:
    """One line of an envelope file; the value's bytes go in as they are."""
    instant = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=record.timestamp)
    head = json.dumps({"timestamp": instant.isoformat()})[:-1].encode()
    key = b"" if record.key is None else b', "key": ' + record.key
    return head + key + b', "value": ' + (b"null" if record.value is None else record.value) + b"}"


def numbered(records: Sequence[Record], partitions: int = 1) -> list[Record]:
    """The records with their offsets; each partition counts its own, a key's records share one."""
    counts = [0] * partitions
    result = []
    for record in records:
        partition = _partition(record, partitions)
        result.append(replace(record, partition=partition, offset=counts[partition]))
        counts[partition] += 1
    return result


def _partition(record: Record, partitions: int) -> int:
    if partitions == 1:
        return 0
    try:
        parts = json.loads(record.value or record.key or b"")
    except ValueError:
        return 0
    if isinstance(parts, dict):
        parts = [parts.get(n) for n in ("isin", "number")] + [(parts.get("id") or {}).get("code")]
        parts = next((p for p in parts if p is not None), "")
    return sum(str(parts).encode()) % partitions


@st.composite
def datasets(draw: Any) -> Entry:
    """Entries of ``datasets:`` in lake.yaml."""
    return make_entry(Drawn(draw))


@st.composite
def records(draw: Any, entry: Entry) -> Record:
    """Records of one dataset, without offsets."""
    return make_record(Drawn(draw), entry)


@st.composite
def streams(draw: Any, max_size: int = 20, partitions: int = 1) -> Stream:
    """A dataset and records of it."""
    entry = draw(datasets())
    return Stream(entry, numbered(draw(st.lists(records(entry), max_size=max_size)), partitions))


@st.composite
def close_streams(draw: Any, max_size: int = 15) -> Stream:
    """A dataset and records of it that hardly differ (`make_close_record`)."""
    choose = Drawn(draw)
    entry = make_close_entry(choose)
    count = choose.integer(0, max_size)
    return Stream(entry, numbered([make_close_record(choose, entry) for _ in range(count)]))


def random_close_stream(seed: int, n: int) -> Stream:
    """``n`` records by seed that hardly differ."""
    choose = Seeded(seed)
    entry = make_close_entry(choose)
    return Stream(entry, numbered([make_close_record(choose, entry) for _ in range(n)]))


def random_stream(seed: int, n: int, *, entry: Entry | None = None, partitions: int = 1) -> Stream:
    """``n`` records by seed, without hypothesis; of a random dataset if none is given."""
    choose = Seeded(seed)
    entry = entry or make_entry(choose)
    return Stream(entry, numbered([make_record(choose, entry) for _ in range(n)], partitions))
