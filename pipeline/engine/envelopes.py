"""Envelopes: refused where they are not expected; told of where they come behind the dataset's clock."""

import json
import logging
from typing import Any

import numpy as np

from pipeline.config import DatasetConfig
from pipeline.config.values import spell_path
from pipeline.decode.batch import Batch
from pipeline.errors import BadInput
from pipeline.query.instants import spelled
from pipeline.source.block import Block
from pipeline.temporal.change import NONE_GIVEN

log = logging.getLogger(__name__)

MOST_LINES, MOST_BYTES = 100, 1 << 20
"""So many lines, and no longer ones, are looked at for a file's first record."""


def refuse_envelopes(block: Block, config: DatasetConfig, name: str) -> None:
    """Refuse a file of envelopes that is loaded as if its lines were the records.

    Every line would be a dead letter, and the clock would go to now, so that the same file, loaded as it
    should be, would get system times from there on.

    Args:
        block: the first one of the file.
        config: the dataset's.
        name: the file's.

    Raises:
        BadInput: its first record has its start in its value only.
    """
    record = _first_record(block)
    if record is None or "timestamp" not in record or _has(record, config.valid_from):
        return
    if _has(record.get("value"), config.valid_from):
        raise BadInput(
            f"{name} holds envelopes: in its first record, {spell_path(config.valid_from)} (valid_from) is"
            " inside of `value`; nothing of it was loaded",
            next_step="load it with --envelope (in Python: load_files(..., envelope=True))",
        )


def tell_late(batch: Batch, dataset: str, clock: int) -> None:
    """Warn of envelopes whose timestamps are before their partition's clock, which they get instead."""
    late = batch.timestamp[(batch.timestamp != NONE_GIVEN) & (batch.timestamp < clock)]
    if late.size:
        log.warning(
            "envelopes are older than what was loaded before: they get later system times",
            extra={
                "dataset": dataset,
                "records": late.size,
                "of_the_first": len(batch),
                "oldest": spelled(int(np.min(late))),
                "known_from": spelled(clock),
            },
        )


def _first_record(block: Block) -> dict[str, Any] | None:
    """The first line that is an object; a tombstone, whose value is null, tells nothing."""
    for index in range(min(len(block), MOST_LINES)):
        if block.ends[index] - block.starts[index] > MOST_BYTES:
            continue
        try:
            record = json.loads(block.line(index))
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and ("value" not in record or record["value"] is not None):
            return record
    return None


def _has(record: Any, path: tuple[str, ...]) -> bool:
    for step in path:
        if not isinstance(record, dict) or step not in record:
            return False
        record = record[step]
    return True
