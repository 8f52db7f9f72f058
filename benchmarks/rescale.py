"""How long no job runs when a Flink job gets another parallelism, by the size of its state."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.append_upsert.servers import WRITING, servers
from benchmarks.append_upsert.subjects import Subject
from benchmarks.figures import surroundings, table
from benchmarks.runner import bitlake, committed, machine, versions
from benchmarks.topics import Filling, kafka_of, topic
from benchmarks.workload import Workload
from stack.flink_home import FlinkOptions
from stack.stack import Stack

_CHECKPOINT = "10s"
"""Flink's interval."""
_PATIENCE = 600.0


def measure(keys: Sequence[int], runs: int) -> dict[str, Any]:
    """Rescale a job from one TaskManager to two and back, on a stack of its own.

    Args:
        keys: sizes of state to measure: a record for each key.
        runs: how often, up and down.
    """
    found: dict[str, Any] = {"machine": machine(), "versions": versions(), "runs": []}
    with (
        tempfile.TemporaryDirectory(prefix="bitlake-rescale-") as name,
        servers(None, 2, FlinkOptions.task_manager_memory, names=WRITING) as stack,
    ):
        for count in keys:
            place = Path(name) / str(count)
            place.mkdir()
            found["runs"] += _measured(stack, place, count, runs)
    return found


def _measured(stack: Stack, folder: Path, keys: int, runs: int) -> list[dict[str, Any]]:
    workload = Workload(records=keys, keys=keys, children=False)
    filled = topic(kafka_of(stack, folder), workload, Filling())
    Subject(f"bonds_{keys}", "append").write(folder, stack, filled, _CHECKPOINT, children=False)
    bitlake(folder, "submit", "--parallelism", "1")
    end = time.monotonic() + _PATIENCE
    while committed(folder) < keys:
        if time.monotonic() > end:
            raise TimeoutError(f"{keys} records were not committed in {_PATIENCE:.0f} s")
        time.sleep(1)
    rows = []
    for parallelism in (2, 1) * runs:
        told = bitlake(folder, "rescale", "--parallelism", str(parallelism))
        rows.append({"keys": keys, **told})
    bitlake(folder, "submit", "--stop")
    return rows


def report(result: dict[str, Any]) -> str:
    """The figures as a page."""
    rows = [
        (
            f"{one['keys']:,}",
            str(one["parallelism"]),
            f"{(one['state_bytes'] or 0) / 1e6:.1f}",
            f"{one['savepoint_seconds']:.1f}",
            f"{one['outage_seconds']:.1f}",
        )
        for one in result["runs"]
    ]
    head = ("keys", "to a parallelism of", "savepoint, MB", "stopping, s", "outage, s")
    where = table(("what", "figure"), surroundings(result))
    return f"# Outage of a rescale\n\n{table(head, rows)}\n\n{where}\n"
