"""The table that tells where a Flink job's partitions were at each checkpoint.

Iceberg's Flink sink can't write a checkpoint's own properties into its snapshots (iceberg #14662). A row is
valid once every table of the dataset, and this one, has its checkpoint.
"""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from pipeline.schema import INSTANT
from pipeline.sink.epoch import Position

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
    horizon = start.horizon
    if offsets and all(partition in clocks for partition in offsets):
        horizon = max(horizon, min(clocks[partition] for partition in offsets) - 1)
    return replace(start, offsets=offsets, clocks=clocks, horizon=horizon)
