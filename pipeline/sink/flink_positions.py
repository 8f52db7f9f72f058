"""The table that tells where a Flink job's partitions were at each checkpoint.

Iceberg's Flink sink can't write a checkpoint's own properties into its snapshots (iceberg #14662). A row is
valid once every table of the dataset, and this one, has its checkpoint.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from pipeline.errors import Refused
from pipeline.schema import INSTANT
from pipeline.sink.epoch import EPOCH, FLINK, FLINK_AHEAD, TABLES, FlinkRun, Position

POSITIONS = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("run", pa.string(), nullable=False),
        pa.field("checkpoint", pa.int64(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("clock", INSTANT),
    ]
)


def positions_table(dead_letters: str) -> str:
    """The identifier of the table of positions: beside that of dead letters."""
    return f"{dead_letters.rpartition('.')[0]}.flink_positions"


class InPart(Refused):
    """A checkpoint of a Flink job is in some tables only: it is being committed, or the job died."""


def refuse_in_part(own: Sequence[str], told: Mapping[str, dict[str, str] | None]) -> None:
    """Refuse a dataset some of whose tables have a checkpoint that others lack.

    Args:
        own: the dataset's tables.
        told: what the newest snapshots say, of those and of the tables of dead letters and of positions.

    Raises:
        InPart: they are not at one checkpoint.
    """
    newest = max((t for name in own if (t := told[name]) and FLINK in t), key=lambda t: int(t[EPOCH]))
    run = FlinkRun.of(newest)
    members = set(json.loads(run.start[TABLES])) | (told.keys() - set(own))
    for name in sorted(members & told.keys()):
        found = told[name]
        if (
            found is None
            or FLINK not in found
            or FlinkRun.of(found).run != run.run
            or found[EPOCH] != newest[EPOCH]
            or found[FLINK_AHEAD] != "0"
        ):
            raise InPart(
                f"a Flink job has committed a checkpoint in part: {name} lacks it",
                next_step="if that job runs, wait a moment; else `bitlake submit` goes on from its last"
                " checkpoint and commits the rest",
            )


def moved(start: Position, rows: pa.Table, checkpoint: int) -> Position:
    """The position at a checkpoint of a run.

    Args:
        start: where the run began, with the epoch that is the checkpoint's.
        rows: of `POSITIONS`, of one dataset and run.
        checkpoint: the last that every table has.
    """
    offsets, clocks = dict(start.offsets), dict(start.clocks)
    order = np.argsort(rows["checkpoint"].to_numpy(), kind="stable")
    for row in rows.set_column(5, "clock", rows["clock"].cast(pa.int64())).take(order).to_pylist():
        if row["checkpoint"] <= checkpoint:
            offsets[row["partition"]] = row["offset"]
            if row["clock"] is not None:
                clocks[row["partition"]] = max(row["clock"], clocks.get(row["partition"], row["clock"]))
    # Files that were loaded before have a partition below 0; nothing more comes of them.
    horizon, partitions = start.horizon, [partition for partition in offsets if partition >= 0]
    if partitions and all(partition in clocks for partition in partitions):
        horizon = max(horizon, min(clocks[partition] for partition in partitions) - 1)
    return replace(start, offsets=offsets, clocks=clocks, horizon=horizon)
