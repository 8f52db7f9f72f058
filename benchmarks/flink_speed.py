"""The Flink job's table of speeds: a steady state, one and two processors, checkpoints of a large state."""

import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.append_upsert.job import checkpoints_of
from benchmarks.append_upsert.servers import WRITING, cpu_seconds, cpu_since, servers
from benchmarks.append_upsert.subjects import Subject
from benchmarks.figures import surroundings, table
from benchmarks.runner import bitlake, committed, machine, versions
from benchmarks.topics import Filling, described, kafka_of, topic
from benchmarks.workload import Workload
from pipeline.config import load_config
from pipeline.errors import BitlakeError
from pipeline.sink.catalog import open_catalog
from pipeline.sink.flink_positions import positions_table
from stack.stack import Stack

_CHECKPOINT = "10s"
"""Flink's interval."""
_LOOK, _PATIENCE = 10.0, 1200.0
_WARM_UP = 2_000_000
"""Records for each TaskManager: Java compiles, and Python loads, what runs for the first time, unmeasured."""


@dataclass(frozen=True)
class Scenario:
    """What is run.

    Attributes:
        what: in words.
        workload: the topic.
        task_managers: how many, and so the job's parallelism.
        pinned: each TaskManager has a processor that the other ones don't use.
        confined: all other servers, and the benchmark, have only the TaskManagers' processors too.
    """

    what: str
    workload: Workload
    task_managers: int = 1
    pinned: bool = False
    confined: bool = False


_REFERENCE = Workload(records=8_000_000, children=False)
SCENARIOS = {
    "steady": Scenario("one TaskManager on all processors", _REFERENCE),
    "one": Scenario("one TaskManager, pinned to a processor", _REFERENCE, pinned=True),
    "two": Scenario("two TaskManagers, each pinned to its processor", _REFERENCE, 2, pinned=True),
    "confined": Scenario(
        "one TaskManager and all else on one processor", _REFERENCE, pinned=True, confined=True
    ),
    "million": Scenario("a million keys", Workload(3_000_000, 1_000_000, children=False)),
    "deep": Scenario(
        "200 keys with 10,000 segments each, retroactive changes anywhere",
        Workload(records=4_000_000, keys=200, children=False, late=0.5),
    ),
}


def measure(names: Sequence[str], runs: int, memory: str, keep: Path | None) -> dict[str, Any]:
    """Run the job over each scenario's topic, on a stack of its own.

    Args:
        names: of `SCENARIOS`, run in this order.
        runs: how often all of them.
        memory: of each TaskManager.
        keep: where the servers and their data are; with none, nothing is left behind.
    """
    found: dict[str, Any] = {
        "machine": machine(),
        "versions": versions(),
        "conditions": {
            "source": described(Filling()),
            "checkpoint interval": _CHECKPOINT,
            "memory of a TaskManager": memory,
        },
    }
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="bitlake-flink-") as fresh:
        home = keep or Path(fresh)
        for name in [name for _ in range(runs) for name in names]:
            taken[name].append(_measured(home, SCENARIOS[name], memory))
    return found | {"scenarios": {name: {**asdict(SCENARIOS[name]), "runs": taken[name]} for name in names}}


def _measured(home: Path, scenario: Scenario, memory: str) -> dict[str, Any]:
    """Run a scenario on servers that have just started."""
    number, count = int(time.time()) % 1_000_000, scenario.task_managers
    with (
        servers(home / "stack", count, memory, pinned=scenario.pinned, names=WRITING) as stack,
        tempfile.TemporaryDirectory() as place,
        _confined(stack, range(count)) if scenario.confined else nullcontext(),
    ):
        warm_up = Workload(records=_WARM_UP * count, keys=1000, children=False)
        _run(stack, Path(place), warm_up, Subject(f"w{number}", "append"), count)
        return _run(stack, Path(place), scenario.workload, Subject(f"b{number}", "append"), count)


@contextmanager
def _confined(stack: Stack, processors: Iterable[int]) -> Iterator[None]:
    """Let all servers and this process have only some processors; this process afterwards what it had."""
    ours = os.sched_getaffinity(0)
    pids = [os.getpid(), *(one.identity.pid for one in stack.servers.values() if one.identity is not None)]
    for pid in pids:
        _allow(pid, processors)
    try:
        yield
    finally:
        _allow(os.getpid(), ours)


def _allow(pid: int, processors: Iterable[int]) -> None:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), processors)


def _run(stack: Stack, place: Path, workload: Workload, subject: Subject, parallelism: int) -> dict[str, Any]:
    """Run the job until it has committed a topic."""
    folder = place / subject.name
    folder.mkdir(parents=True)
    filled = topic(kafka_of(stack, folder), workload, Filling())
    subject.write(folder, stack, filled, _CHECKPOINT, children=False)
    before, begun = cpu_seconds(stack), time.time()
    job = bitlake(folder, "submit", "--parallelism", str(parallelism))["job"]
    while (done := committed(folder)) < workload.records:
        if time.time() - begun > _PATIENCE:
            raise BitlakeError(f"{done} of {workload.records} records were committed in {_PATIENCE:.0f} s")
        time.sleep(_LOOK)
    used, commits = cpu_since(stack, before), checkpoints_in(folder)
    checkpoints, counts = checkpoints_of(stack, job)
    bitlake(folder, "submit", "--stop")
    return {
        "seconds": round(commits[-1][0] - begun, 2),
        "steady": steady(commits),
        "commits": [[round(at - begun, 2), done] for at, done in commits],
        "cpu_seconds": used,
        "checkpoints": {
            **counts,
            "seconds": [one["end_to_end_duration"] / 1000 for one in checkpoints],
            "written_bytes": [one["checkpointed_size"] for one in checkpoints],
        },
    }


def checkpoints_in(folder: Path) -> list[tuple[float, int]]:
    """When the table of a lake's one dataset had each checkpoint (Unix time), and the records in it.

    Read from the tables afterwards: to ask them often takes a fifth of a processor.
    """
    lake = load_config(folder / "lake.yaml", {})
    (dataset,), catalog = lake.datasets, open_catalog(lake.catalog)
    at: dict[int, float] = {}
    for snapshot in catalog.load_table(dataset.table).metadata.snapshots:
        told = snapshot.summary and snapshot.summary.get("flink.max-committed-checkpoint-id")
        if told:
            at[int(str(told))] = snapshot.timestamp_ms / 1000
    positions = catalog.load_table(positions_table(lake.dead_letters.table))
    rows = positions.scan(f"dataset = '{dataset.name}'").to_arrow().sort_by("checkpoint")
    offsets, held = dict[int, int](), dict[int, int]()
    for row in rows.to_pylist():
        offsets[row["partition"]] = row["offset"]
        held[row["checkpoint"]] = sum(offsets.values())
    found = dict[int, float]()  # records: when the first checkpoint had them; later ones may bring none
    for checkpoint, count in held.items():
        if checkpoint in at:
            found.setdefault(count, at[checkpoint])
    return [(moment, count) for count, moment in found.items()]


def steady(commits: Sequence[tuple[float, int]]) -> float | None:
    """Records per second from the first commit to the last but one; None for too few.

    Before the last one the topic has ended, and so it does not count.
    """
    if len(commits) < 4:
        return None
    (begun, first), (ended, last) = commits[0], commits[-2]
    return round((last - first) / (ended - begun))


def report(result: dict[str, Any]) -> str:
    """The figures as a page."""
    rows, checkpoints, rate_of = [], [], {}
    for name, scenario in result["scenarios"].items():
        runs, records = scenario["runs"], scenario["workload"]["records"]
        cpu = statistics.median(run["cpu_seconds"].get("flink-taskmanager", 0.0) for run in runs)
        rates = [run["steady"] for run in runs if run["steady"]]
        if rates:
            rate_of[name] = statistics.median(rates)
        rows.append(
            (
                scenario["what"],
                f"{records:,}",
                f"{rate_of[name]:,.0f}" if rates else "too short",
                f"{statistics.median(records / run['seconds'] for run in runs):,.0f}",
                f"{cpu / records * 1e6:.1f}",
            )
        )
        seconds = [one for run in runs for one in run["checkpoints"]["seconds"]]
        written = [one for run in runs for one in run["checkpoints"]["written_bytes"]]
        state = max(run["checkpoints"]["state_bytes"] for run in runs)
        checkpoints.append(
            (
                scenario["what"],
                f"{statistics.median(seconds):.2f}",
                f"{max(seconds):.2f}",
                f"{statistics.median(written) / 1e6:,.0f}",
                f"{state / 1e6:,.0f}",
            )
        )
    return (
        "\n\n".join(
            [
                "# The Flink job, from Kafka to committed rows",
                (
                    "Medians. *Steady* is from the first commit to the last but one, *whole* from the"
                    " submission to the last commit; CPU is that of the TaskManagers with Python inside."
                    " Kafka, SeaweedFS and the JobManager are on the same processors."
                ),
                table(("scenario", "records", "steady, records/s", "whole", "CPU µs per record"), rows),
                *_scaling(rate_of),
                "Checkpoints, of which Flink remembers the last ten of a run:",
                table(("scenario", "median s", "longest s", "written, median MB", "state, MB"), checkpoints),
                table(
                    ("what", "figure"),
                    [*surroundings(result), *((n, str(v)) for n, v in result["conditions"].items())],
                ),
            ]
        )
        + "\n"
    )


def _scaling(rates: Mapping[str, float]) -> Iterator[str]:
    """What a second processor gives."""
    if {"one", "two", "confined"} <= rates.keys():
        two = rates["two"]
        yield (
            "Two TaskManagers, each pinned to a processor that it shares with the servers, do"
            f" {two / rates['one']:.2f} times what one does that has its processor to itself, and"
            f" {two / rates['confined']:.2f} times what one does that shares its processor with all else."
        )
