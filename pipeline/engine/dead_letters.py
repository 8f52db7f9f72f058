"""Dead letters as rows of their table, a batch at a time."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.config import DatasetConfig
from pipeline.decode.batch import Batch, Label
from pipeline.decode.explain import Refused, explain_all
from pipeline.decode.ready import ROLE_NAMES
from pipeline.schema import INSTANT
from pipeline.sink.dead_letter_table import DEAD, REFUSED, REPLAYED, as_rows, later_rows, repeated
from pipeline.source.block import Block
from pipeline.source.kafka import KafkaBlock, read_headers
from pipeline.temporal.change import NONE_GIVEN, Changes, starts_of

ENVELOPE = json.dumps({"bitlake.envelope": True})
"""The headers of a letter whose value is an envelope."""
_IDENTITY = ("dataset", "topic", "partition", "offset", "epoch")


@dataclass(frozen=True)
class Origin:
    """Where records came from, and how they are to be read.

    Attributes:
        topic, partition: where from.
        envelope: they are in envelopes.
        file: the file's name, as dead letters tell it; None: of no file that has one.
        roles: what reasons call valid_from, valid_to and operation: with their paths.
    """

    topic: str
    partition: int
    envelope: bool
    roles: tuple[Label, ...]
    file: str | None = None

    @classmethod
    def of(cls, config: DatasetConfig, partition: int, *, envelope: bool, file: str | None = None) -> Self:
        """That of a dataset's records."""
        paths = (config.valid_from, config.valid_to, config.operation)
        roles = tuple(map(_label, ROLE_NAMES, paths))
        return cls(config.topic, partition, envelope, roles, file)

    def refused(self, batch: Batch, records: NDArray[np.int64]) -> Refused:
        """Why those records of a batch are no changes."""
        refused = Refused.of(batch, records)
        return replace(refused, columns=(*self.roles, *refused.columns[len(self.roles) :]))


@dataclass(frozen=True)
class Parts:
    """Byte strings, one after the other in `content`; a length of -1 is a null."""

    content: bytes
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Self:
        """Parts of a buffer, in their order, byte for byte; a start of -1 is a null."""
        view = memoryview(buffer)  # type: ignore[arg-type]
        edges = zip(starts.tolist(), ends.tolist(), strict=True)
        content = b"".join([view[start:end] for start, end in edges if start >= 0])
        return cls(content, np.where(starts < 0, -1, ends - starts))

    @classmethod
    def nulls(cls, n: int) -> Self:
        """Nothing, n times."""
        return cls(b"", np.full(n, -1))

    @staticmethod
    def array(all_of: Sequence["Parts"]) -> pa.Array:
        """All of them as one binary array."""
        lengths = np.concatenate([one.lengths for one in all_of])
        edges = starts_of(lengths.clip(0))
        valid = pa.array(lengths >= 0).buffers()[1]
        content = pa.py_buffer(b"".join([one.content for one in all_of]))
        buffers = [valid, pa.py_buffer(edges), content]
        return pa.Array.from_buffers(pa.large_binary(), len(lengths), buffers).cast(pa.binary())


@dataclass(frozen=True)
class Buried:
    """Dead letters of one batch, as arrays: rows of their table are made of many batches at once.

    Attributes:
        origin: where they came from.
        refused: why.
        offset, timestamp, system_time: int64[n]; microseconds, -2**63: none.
        line: int64[n], from 1; None: they are no lines.
        value, key: as they came.
        headers: as the table has them.
    """

    origin: Origin
    refused: Refused
    offset: NDArray[np.int64]
    timestamp: NDArray[np.int64]
    system_time: NDArray[np.int64]
    value: Parts
    key: Parts
    headers: list[str | None]
    line: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def nbytes(self) -> int:
        """About what they hold of memory."""
        return len(self.value.content) + len(self.key.content) + 100 * len(self)


def buried(
    batch: Batch,
    block: Block | KafkaBlock,
    timestamps: NDArray[np.int64],
    changes: Changes,
    done: slice,
    origin: Origin,
) -> Buried | None:
    """Those records `done` of a batch that are no changes.

    Args:
        batch, block, changes: n records decoded, as they came, and with what became of them.
        timestamps: int64[n], microseconds.
        done: which of them.
        origin: where they came from.
    """
    records = done.start + np.flatnonzero(batch.status[done])
    if records.size == 0:
        return None
    return Buried(
        origin,
        origin.refused(batch, records),
        changes.offset[records],
        timestamps[records],
        np.maximum(changes.system[records], 0),
        Parts.of(block.buffer, block.starts[records], block.ends[records]),
        _keys(block, records),
        [ENVELOPE] * records.size if origin.envelope else _headers(block, records),
        block.first_line + 1 + records if isinstance(block, Block) else None,
    )


def dead_rows(letters: Sequence[Buried], dataset: str, epoch: int) -> pa.Table:
    """What `buried` gave as rows of the table; at least one."""
    sizes = [len(one) for one in letters]
    stage, reason, advice = explain_all([one.refused for one in letters])
    of = np.repeat(np.arange(len(sizes)), sizes)
    known: dict[str, pa.Array] = {
        "dataset": pa.repeat(dataset, sum(sizes)),
        "topic": pa.array([one.origin.topic for one in letters]).take(of),
        "file": pa.array([one.origin.file for one in letters], pa.string()).take(of),
        "line": pa.concat_arrays([_lines(one) for one in letters]),
        "partition": pa.array(np.repeat([one.origin.partition for one in letters], sizes), pa.int32()),
        "offset": pa.array(np.concatenate([one.offset for one in letters])),
        "timestamp": _instants(np.concatenate([one.timestamp for one in letters])),
        "key": Parts.array([one.key for one in letters]),
        "value": Parts.array([one.value for one in letters]),
        "headers": pa.array([text for one in letters for text in one.headers], pa.string()),
        "stage": stage,
        "reason": reason,
        "advice": advice,
        "system_time": _instants(np.concatenate([one.system_time for one in letters])),
    }
    known |= repeated(sum(sizes), epoch=epoch, status=DEAD)
    text = [known[name].cast(pa.string()) for name in _IDENTITY]
    known["id"] = pc.binary_join_element_wise(*text, "/")
    return as_rows(known, sum(sizes))


def replayed(letters: pa.Table, clock: int) -> pa.Table:
    """Later rows of letters replayed at `clock`, but for their epoch; bytes stay in the first ones."""
    return later_rows(letters, repeated(len(letters), status=REPLAYED, system_time=clock))


def refused_again(letters: pa.Table, refused: Refused, now: int) -> pa.Table:
    """Later rows of letters that a replay at `now` refused, and why, but for their epoch."""
    stage, reason, advice = explain_all([refused])
    why = {"stage": stage, "reason": reason, "advice": advice}
    return later_rows(letters, why | repeated(len(letters), status=REFUSED, system_time=now))


def rows_of_epoch(later: list[pa.Table], epoch: int) -> pa.Table:
    """What `replayed` and `refused_again` gave as rows of the table."""
    rows = pa.concat_tables(later)
    known = dict(zip(rows.column_names, rows.columns, strict=True))
    return as_rows(known | repeated(len(rows), epoch=epoch), len(rows))


def _lines(letters: Buried) -> pa.Array:
    return pa.nulls(len(letters), pa.int64()) if letters.line is None else pa.array(letters.line, pa.int64())


def _label(role: str, path: tuple[str, ...] | None) -> Label:
    return Label(role) if path is None or path == (role,) else Label(role, ".".join(path))


def _keys(block: Block | KafkaBlock, records: NDArray[np.int64]) -> Parts:
    if isinstance(block, Block):
        return Parts.nulls(len(records))
    return Parts.of(block.buffer, block.key_starts[records], block.key_ends[records])


def _headers(block: Block | KafkaBlock, records: NDArray[np.int64]) -> list[str | None]:
    if isinstance(block, Block):
        return [None] * len(records)
    return [headers_text(block.headers(record)) for record in records.tolist()]


def headers_text(raw: bytes) -> str | None:
    """Headers as JSON, in order: text as ``value``, other bytes as ``base64``; None if there are none."""
    listed = [{"name": name, **_readable(value)} for name, value in read_headers(raw)]
    return json.dumps(listed, ensure_ascii=False) if listed else None


def _readable(value: bytes | None) -> dict[str, str | None]:
    try:
        return {"value": None if value is None else value.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value or b"").decode()}


def _instants(values: NDArray[np.int64]) -> pa.Array:
    return pa.array(values, mask=values == NONE_GIVEN).cast(INSTANT)
