"""Fetch requests, and their answers with the record batches left where they are.

The messages are those of https://kafka.apache.org/protocol#The_Messages_Fetch, versions 4 to 13. From 13 on
topics go by their ids, so that the broker itself tells when a topic was deleted and made anew.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from kafka.protocol.consumer.fetch import FetchRequest

from pipeline.source.kafka.block import Bytes, Numbers
from pipeline.source.kafka.properties import ClientSettings

NEWEST = 13
_BY_NAME = 12
_INT16, _INT32, _INT64 = (struct.Struct(">h"), struct.Struct(">i"), struct.Struct(">q"))
_NO_TOPIC_ID = UUID(int=0)


class Unreadable(Exception):
    """The answer does not follow the protocol."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to ask of one partition."""

    topic: str
    topic_id: UUID
    partition: int
    leader_epoch: int
    offset: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of one partition.

    Attributes:
        topic: a name, or an id where the request was by ids.
        preferred: the broker to fetch from instead, or -1.
        aborted: int64[n, 3]: producer, first offset, 0; by offset.
        begin, end: the place of the record batches in the answer.
    """

    topic: str | UUID
    partition: int
    error: int
    high_watermark: int
    last_stable_offset: int
    preferred: int
    aborted: Numbers
    begin: int
    end: int


def fetch_version(newest: int, wanted: Sequence[Wanted]) -> int:
    """The version to use: by names where a topic has no id."""
    return min(newest, NEWEST if all(one.topic_id != _NO_TOPIC_ID for one in wanted) else _BY_NAME)


def fetch_request(settings: ClientSettings, version: int, wanted: Sequence[Wanted], wait: float) -> Any:
    """Build a request that is answered after so many seconds at the latest."""
    topics: dict[tuple[str, UUID], list[Any]] = {}
    part = FetchRequest.FetchTopic.FetchPartition
    for one in wanted:
        topics.setdefault((one.topic, one.topic_id), []).append(
            part(
                partition=one.partition,
                current_leader_epoch=one.leader_epoch,
                fetch_offset=one.offset,
                partition_max_bytes=one.max_bytes,
            )
        )
    return FetchRequest(
        version=version,
        max_wait_ms=int(wait * 1000),
        min_bytes=settings.fetch_min_bytes,
        max_bytes=settings.fetch_max_bytes,
        isolation_level=1 if settings.read_committed else 0,
        topics=[
            FetchRequest.FetchTopic(topic=name, topic_id=identity, partitions=partitions)
            for (name, identity), partitions in topics.items()
        ],
        rack_id=settings.rack,
    )


def read_answer(answer: Bytes, end: int, version: int) -> tuple[int, list[Fetched]]:
    """The error of the whole answer, and its partitions.

    Args:
        end: where the answer ends in the buffer.

    Raises:
        Unreadable: it is cut off or makes no sense.
    """
    reader = _Reader(answer, end, version >= 12)
    try:
        reader.skip(4)
        reader.tags()
        reader.skip(4)
        error = reader.number(_INT16) if version >= 7 else 0
        reader.skip(4 if version >= 7 else 0)
        found = [fetched for _ in range(reader.length()) for fetched in _topic(reader, version)]
        return error, found
    except (struct.error, ValueError, IndexError) as problem:
        raise Unreadable(str(problem)) from problem


def _topic(reader: "_Reader", version: int) -> Iterator[Fetched]:
    topic = reader.uuid() if version >= 13 else reader.text()
    for _ in range(reader.length()):
        yield _partition(reader, version, topic)
    reader.tags()


def _partition(reader: "_Reader", version: int, topic: str | UUID) -> Fetched:
    partition = reader.number(_INT32)
    error = reader.number(_INT16)
    high_watermark = reader.number(_INT64)
    last_stable = reader.number(_INT64)
    reader.skip(8 if version >= 5 else 0)
    aborted = np.zeros((max(reader.length(), 0), 3), np.int64)
    for row in aborted:
        row[0], row[1] = reader.number(_INT64), reader.number(_INT64)
        reader.tags()
    preferred = reader.number(_INT32) if version >= 11 else -1
    size = max(reader.length(), 0)
    begin = reader.at
    reader.skip(size)
    reader.tags()
    aborted = aborted[np.argsort(aborted[:, 1], kind="stable")]
    if last_stable < 0:
        last_stable = high_watermark
    return Fetched(
        topic, partition, error, high_watermark, last_stable, preferred, aborted, begin, begin + size
    )


class _Reader:
    """Reads an answer from its beginning on."""

    def __init__(self, data: Bytes, end: int, flexible: bool) -> None:
        self.at = 0
        self._data = data.data[:end]
        self._flexible = flexible

    def number(self, kind: struct.Struct) -> int:
        (value,) = kind.unpack_from(self._data, self.at)
        self.at += kind.size
        return int(value)

    def skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self._data):
            raise ValueError("an answer is cut off")

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 28:
                raise ValueError("a length makes no sense")

    def length(self) -> int:
        """Of an array or of bytes; -1 is none. No array has more items than there are bytes left."""
        size = self.varint() - 1 if self._flexible else self.number(_INT32)
        if size > len(self._data) - self.at:
            raise ValueError("an answer is cut off")
        return size

    def text(self) -> str:
        size = self.varint() - 1 if self._flexible else self.number(_INT16)
        begin = self.at
        self.skip(max(size, 0))
        return bytes(self._data[begin : self.at]).decode()

    def uuid(self) -> UUID:
        begin = self.at
        self.skip(16)
        return UUID(bytes=bytes(self._data[begin : self.at]))

    def tags(self) -> None:
        """Skip the tagged fields."""
        if self._flexible:
            for _ in range(self.varint()):
                self.varint()
                self.skip(self.varint())
