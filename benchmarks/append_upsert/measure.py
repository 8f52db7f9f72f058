"""The comparison: each subject is written, asked, compacted and asked again; their answers must be equal."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.append_upsert import files, job, questions
from benchmarks.append_upsert.servers import servers
from benchmarks.append_upsert.subjects import SUBJECTS, Subject
from benchmarks.runner import bitlake, machine, versions
from benchmarks.topics import Filling, described, kafka_of, topic
from benchmarks.workload import Workload
from pipeline.errors import BitlakeError
from pipeline.views.trino_client import TrinoClient
from stack.stack import Stack

FEW, WARM_UP = Workload(20_000, 1_000), (Subject("warm_up", "append"),)
"""Java compiles, and Python loads, what runs for the first time: that is not measured."""


def measure(
    workload: Workload,
    *,
    parallelism: int,
    checkpoint: str,
    memory: str,
    asked: int,
    children: bool,
    kept: Path | None = None,
    subjects: Sequence[Subject] = SUBJECTS,
) -> dict[str, Any]:
    """Compare subjects.

    Args:
        workload: the records.
        parallelism: of the job; so many TaskManagers.
        checkpoint: Flink's interval.
        memory: of each TaskManager.
        asked: how often each question is asked.
        children: with the child table.
        kept: a folder for the servers, which keeps the topic and the tables.
        subjects: what is compared, in this order.

    Raises:
        BitlakeError: subjects answer differently.
    """
    before, filling = machine(), Filling()
    with servers(kept, parallelism, memory) as stack, tempfile.TemporaryDirectory() as name:
        kafka, found = kafka_of(stack, Path(name)), {}
        few, records = topic(kafka, FEW, filling), topic(kafka, workload, filling)
        for subject, source in [*((one, few) for one in WARM_UP), *((one, records) for one in subjects)]:
            folder = Path(name) / subject.name
            folder.mkdir()
            subject.write(folder, stack, source, checkpoint, children=children)
            found[subject.name] = _measure(stack, folder, subject, parallelism, asked)
        for subject in WARM_UP:
            del found[subject.name]
        disagreeing = different(found)
        if disagreeing:
            raise BitlakeError(
                f"the tables answer differently: {', '.join(disagreeing)}",
                next_step="this is a fault of ours",
            )
        return {
            "machine": before,
            "versions": versions(),
            "conditions": {
                "workload": asdict(workload),
                "source": described(filling),
                "child_table": children,
                "parallelism": parallelism,
                "checkpoint_interval": checkpoint,
                "task_manager_memory": memory,
                "asked": asked,
            },
            "subjects": found,
        }


def _measure(stack: Stack, folder: Path, subject: Subject, parallelism: int, asked: int) -> dict[str, Any]:
    trino = TrinoClient(stack.trino.address)
    files.drop(trino, subject.table)
    written = job.run(stack, folder, subject.table, parallelism)
    bitlake(folder, "views", "--catalog", "lake", "--trino", stack.trino.address)
    tables = files.tables_of(trino, subject.table)
    at = questions.points(trino, subject.table, "XS0000000017")
    size = files.size(trino, tables)
    answers = questions.ask(trino, tables, at, asked)
    seconds = files.compact(trino, tables)
    return {
        "mode": subject.mode,
        "tables": tables,
        "points": asdict(at),
        "job": written,
        "before": {"files": size, "questions": answers},
        "compaction_seconds": seconds,
        "after": {
            "files": files.size(trino, tables),
            "questions": questions.ask(trino, tables, at, asked),
        },
    }


def different(found: dict[str, dict[str, Any]]) -> list[str]:
    """The questions that subjects, before or after compaction, answer differently."""
    answers: dict[str, list[Any]] = {}
    for one in found.values():
        for when in ("before", "after"):
            for name, told in one[when]["questions"].items():
                answers.setdefault(name, []).append((one["points"], told["answer"]))
    return [name for name, told in answers.items() if any(other != told[0] for other in told)]
