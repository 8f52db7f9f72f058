"""The Flink job's table of speeds: a steady state, one and two processors, checkpoints of a large state."""

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.append_upsert.job import checkpoints_of
from benchmarks.append_upsert.servers import cpu_seconds, cpu_since, servers
from benchmarks.append_upsert.subjects import Subject
from benchmarks.figures import surroundings, table
from benchmarks.runner import bitlake, committed, machine, versions
from benchmarks.topics import Filling, described, kafka_of, topic
from benchmarks.workload import Workload
from pipeline.errors import BitlakeError
from stack.stack import Stack

_CHECKPOINT = "10s"
"""Flink's interval."""
_LOOK, _PATIENCE = 0.5, 1200.0
_WARM_UP = Workload(records=20_000, keys=1000, children=False)
"""Java compiles, and Python loads, what runs for the first time: that is not measured."""


@dataclass(frozen=True)
class Scenario:
    """What is run.

    Attributes:
        what: in words.
        workload: the topic.
        task_managers: how many, and so the job's parallelism.
        pinned: each TaskManager has a processor that the other ones don't use.
    """

    what: str
    workload: Workload
    task_managers: int = 1
    pinned: bool = False


_REFERENCE = Workload(records=5_000_000, children=False)
SCENARIOS = {
    "steady": Scenario("one TaskManager on all processors", _REFERENCE),
    "one": Scenario("one TaskManager, pinned to a processor", _REFERENCE, pinned=True),
    "two": Scenario("two TaskManagers, each pinned to its processor", _REFERENCE, 2, pinned=True),
    "million": Scenario("a million keys", Workload(3_000_000, 1_000_000, children=False)),
    "deep": Scenario(
        "100 keys with 10,000 segments each, retroactive changes anywhere",
        Workload(records=2_000_000, keys=100, children=False, late=0.5),
    ),
}


def measure(names: Sequence[str], runs: int, memory: str) -> dict[str, Any]:
    """Run the job over each scenario's topic, on a stack of its own.

    Args:
        names: of `SCENARIOS`, run in this order.
        runs: how often all of them.
        memory: of each TaskManager.
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
    with tempfile.TemporaryDirectory(prefix="bitlake-flink-") as folder:
        for number, name in enumerate([name for _ in range(runs) for name in names]):
            scenario, place = SCENARIOS[name], Path(folder) / str(number)
            with servers(
                Path(folder) / "stack", scenario.task_managers, memory, pinned=scenario.pinned
            ) as stack:
                _run(stack, place, _WARM_UP, Subject(f"warm_up_{number}", "append"))
                subject = Subject(f"{name}_{number}", "append")
                taken[name].append(_run(stack, place, scenario.workload, subject))
    return found | {"scenarios": {name: {**asdict(SCENARIOS[name]), "runs": taken[name]} for name in names}}


def _run(stack: Stack, place: Path, workload: Workload, subject: Subject) -> dict[str, Any]:
    """Run the job until it has committed a topic."""
    folder = place / subject.name
    folder.mkdir(parents=True)
    filled = topic(kafka_of(stack, folder), workload, Filling())
    subject.write(folder, stack, filled, _CHECKPOINT, children=False)
    before, begun = cpu_seconds(stack), time.monotonic()
    job = bitlake(folder, "submit")["job"]
    seen: list[tuple[float, int]] = []
    while not seen or seen[-1][1] < workload.records:
        time.sleep(_LOOK)
        now, done = time.monotonic(), committed(folder)
        if done > (seen[-1][1] if seen else 0):
            seen.append((now, done))
        if now - begun > _PATIENCE:
            raise BitlakeError(f"{done} of {workload.records} records were committed in {_PATIENCE:.0f} s")
    used = cpu_since(stack, before)
    checkpoints, counts = checkpoints_of(stack, job)
    bitlake(folder, "submit", "--stop")
    return {
        "seconds": round(seen[-1][0] - begun, 2),
        "steady": _steady(seen),
        "commits": [[round(at - begun, 2), done] for at, done in seen],
        "cpu_seconds": used,
        "checkpoints": {
            **counts,
            "seconds": [one["end_to_end_duration"] / 1000 for one in checkpoints],
            "written_bytes": [one["checkpointed_size"] for one in checkpoints],
        },
    }


def _steady(seen: Sequence[tuple[float, int]]) -> float | None:
    """Records per second from the first commit to the last one; None for fewer than three."""
    if len(seen) < 3:
        return None
    (begun, first), (ended, last) = seen[0], seen[-1]
    return round((last - first) / (ended - begun))


def report(result: dict[str, Any]) -> str:
    """The figures as a page."""
    rows, checkpoints = [], []
    for scenario in result["scenarios"].values():
        runs, records = scenario["runs"], scenario["workload"]["records"]
        cpu = statistics.median(run["cpu_seconds"].get("flink-taskmanager", 0.0) for run in runs)
        rates = [run["steady"] for run in runs if run["steady"]]
        rows.append(
            (
                scenario["what"],
                f"{records:,}",
                f"{statistics.median(rates):,.0f}" if rates else "too short",
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
                    "Medians. *Steady* is from the first commit to the last one, *whole* from the submission"
                    " to the last commit; CPU is that of the TaskManagers with Python inside. Kafka,"
                    " SeaweedFS and the JobManager are on the same processors."
                ),
                table(("scenario", "records", "steady, records/s", "whole", "CPU µs per record"), rows),
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
