"""Dead letters as rows of their table, a batch at a time."""

import base64
import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.decode.batch import Batch
from pipeline.decode.explain import explain_all
from pipeline.schema import INSTANT
from pipeline.sink.dead_letter_table import DEAD_LETTERS
from pipeline.source.block import Block
from pipeline.source.kafka import KafkaBlock, read_headers
from pipeline.temporal.change import NONE_GIVEN, Changes

ENVELOPE = json.dumps({"bitlake.envelope": True})
"""The headers of a letter whose value is an envelope."""
_IDENTITY = ("dataset", "topic", "partition", "offset", "epoch")


@dataclass(frozen=True)
class Origin:
    """Where records came from, and how they are to be read."""

    topic: str
    partition: int
    envelope: bool


def buried(
    batch: Batch, block: Block | KafkaBlock, changes: Changes, done: slice, clock: int, origin: Origin
) -> pa.Table | None:
    """Those records `done` of a batch that are no changes, without the columns that `dead_rows` adds.

    Args:
        batch, block, changes: the records decoded, as they came, and with what became of them.
        done: which of them.
        clock: the partition's clock before them.
        origin: where they came from.
    """
    records = done.start + np.flatnonzero(batch.status[done])
    n = int(records.size)
    if n == 0:
        return None
    stage, reason, advice = explain_all(batch, records)
    clocks = np.maximum.accumulate(np.concatenate(([clock], changes.timestamp[done])))
    stamps = np.where(batch.ahead[records], batch.timestamp[records], changes.timestamp[records])
    columns = {
        "topic": pa.repeat(origin.topic, n),
        "partition": pa.repeat(pa.scalar(origin.partition, pa.int32()), n),
        "offset": pa.array(changes.offset[records]),
        "timestamp": _instants(stamps),
        "key": _keys(block, records),
        "value": parts(block.buffer, block.starts[records], block.ends[records]),
        "headers": pa.repeat(ENVELOPE, n) if origin.envelope else _headers(block, records),
        "stage": stage,
        "reason": reason,
        "advice": advice,
        "system_time": _instants(np.maximum(clocks[records - done.start + 1], 0)),
    }
    return pa.table(columns)


def dead_rows(letters: list[pa.Table], dataset: str, epoch: int) -> pa.Table:
    """What `buried` gave as rows of the table."""
    rows = pa.concat_tables(letters)
    known = {name: rows.column(name) for name in rows.column_names}
    known |= _all(rows, dataset=dataset, epoch=epoch, status="dead")
    text = [known[name].cast(pa.string()) for name in _IDENTITY]
    known["id"] = pc.binary_join_element_wise(*text, "/")
    return pa.table({field.name: known[field.name] for field in DEAD_LETTERS}, schema=DEAD_LETTERS)


def replayed(letters: pa.Table, clock: int) -> pa.Table:
    """The second rows of letters replayed at `clock`, but for their epoch; bytes stay in the first ones."""
    n = len(letters)
    known = {name: letters.column(name) for name in letters.column_names}
    known |= {"key": pa.nulls(n, pa.binary()), "value": pa.nulls(n, pa.binary())}
    known |= _all(letters, status="replayed", system_time=clock)
    return pa.table(known)


def replayed_rows(letters: list[pa.Table], epoch: int) -> pa.Table:
    """What `replayed` gave as rows of the table."""
    rows = pa.concat_tables(letters)
    known = {name: rows.column(name) for name in rows.column_names} | _all(rows, epoch=epoch)
    return pa.table({field.name: known[field.name] for field in DEAD_LETTERS}, schema=DEAD_LETTERS)


def parts(buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> pa.Array:
    """Parts of a buffer, in their order, byte for byte; a start of -1 is a null."""
    edges = np.maximum.accumulate(np.stack([starts, ends], axis=1).ravel().clip(0))
    # What lies between two parts is a value too, to be left out: so every part is where it is.
    buffers = [None, pa.py_buffer(np.ascontiguousarray(edges, np.int64)), pa.py_buffer(buffer)]
    everything = pa.Array.from_buffers(pa.large_binary(), edges.size - 1, buffers)
    chosen = pa.array(np.arange(0, edges.size, 2), mask=np.asarray(starts < 0))
    return everything.take(chosen).cast(pa.binary())


def _keys(block: Block | KafkaBlock, records: NDArray[np.int64]) -> pa.Array:
    if isinstance(block, Block):
        return pa.nulls(len(records), pa.binary())
    return parts(block.buffer, block.key_starts[records], block.key_ends[records])


def _headers(block: Block | KafkaBlock, records: NDArray[np.int64]) -> pa.Array:
    if isinstance(block, Block):
        return pa.nulls(len(records), pa.string())
    return pa.array([headers_text(block.headers(record)) for record in records.tolist()], pa.string())


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


def _all(rows: pa.Table, **values: str | int) -> dict[str, pa.Array]:
    return {
        name: pa.repeat(pa.scalar(value, DEAD_LETTERS.field(name).type), len(rows))
        for name, value in values.items()
    }
