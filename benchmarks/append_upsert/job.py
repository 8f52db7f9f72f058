"""One run of the Flink job: its time, its checkpoints, its commits, and the processors it used."""

import json
import re
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import requests

from benchmarks.append_upsert.servers import cpu_seconds, cpu_since
from benchmarks.runner import command
from pipeline.errors import BitlakeError
from stack.stack import Stack

_COMMITTED = re.compile(r"Committed .* to table: (\S+?),.* in (\d+) ms")


def run(stack: Stack, folder: Path, table: str, parallelism: int) -> dict[str, Any]:
    """Submit the job of the lake in a folder to the end of its topic.

    Args:
        stack: where it runs.
        folder: of lake.yaml.
        table: whose commits count.
        parallelism: of the job.

    Returns:
        ``wall_seconds`` with the submission; ``job_seconds`` by Flink, from its start to its end;
        ``cpu_seconds`` by kind of server; ``checkpoints`` (Flink remembers the last ten) and ``commits``: how
        many, and how long they took.
    """
    logs = [(server.log, server.log.stat().st_size) for server in stack.task_managers]
    before, begun = cpu_seconds(stack), time.monotonic()
    words = ["submit", "--until-end", "--wait", "--parallelism", str(parallelism), "--output", "json"]
    done = subprocess.run([command(), *words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BitlakeError(
            f"the job failed: {done.stderr[-3000:]}", next_step=f"see the logs in {stack.folder}"
        )
    wall, used = time.monotonic() - begun, cpu_since(stack, before)
    job = json.loads(done.stdout.splitlines()[-1])["job"]
    told = requests.get(f"{stack.job_manager.rest}/jobs/{job}", timeout=30).json()
    completed, counts = checkpoints_of(stack, job)
    commits = [milliseconds / 1000 for log, start in logs for milliseconds in commits_of(table, log, start)]
    return {
        "wall_seconds": round(wall, 3),
        "job_seconds": told["duration"] / 1000,
        "cpu_seconds": used,
        "checkpoints": {
            **counts,
            **_spread([one["end_to_end_duration"] / 1000 for one in completed]),
        },
        "commits": {"count": len(commits), **_spread(commits)},
    }


def checkpoints_of(stack: Stack, job: str) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The last completed checkpoints as Flink has them; how many completed and failed, the largest state."""
    told = requests.get(f"{stack.job_manager.rest}/jobs/{job}/checkpoints", timeout=30).json()
    completed = [one for one in told["history"] if one["status"] == "COMPLETED"]
    return completed, {
        "completed": told["counts"]["completed"],
        "failed": told["counts"]["failed"],
        "state_bytes": max((one["state_size"] for one in completed), default=0),
    }


def commits_of(table: str, log: Path, start: int = 0) -> Iterator[int]:
    """Milliseconds of Iceberg's commits to a table and its children, as a TaskManager has logged them.

    Args:
        table: the parent's identifier.
        log: the log.
        start: a place in it: what comes before does not count.
    """
    with log.open("rb") as opened:
        opened.seek(start)
        for line in opened:
            found = _COMMITTED.search(line.decode(errors="replace"))
            if found and found[1].partition(".")[2].partition("__")[0] == table:
                yield int(found[2])


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    middle = statistics.median(seconds)
    return {
        "median_seconds": round(middle, 3),
        "longest_seconds": max(seconds),
        "all_seconds": round(sum(seconds), 3),
    }
