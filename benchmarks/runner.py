"""Loads the workload with the installed command, several times, and measures the whole process."""

import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.topics import Filling, broker, described, topic
from benchmarks.workload import Workload, lake
from pipeline.errors import BitlakeError
from pipeline.lake import Lake

_PACKAGES = ("bitlake", "numpy", "numba", "pyarrow", "pyiceberg", "rocksdict", "duckdb", "zstandard")
_SAMPLE_SECONDS = 0.25


@dataclass(frozen=True)
class Run:
    """One load, from the start of the process to its end.

    Attributes:
        wall_seconds: on the clock; starting Python and importing included.
        load_seconds: from the first line read, or the first fetch, to the last row committed, by the log.
        cpu_seconds: user and system time of the process and its children.
        peak_rss: bytes, of the process.
        peak_pss: bytes, sampled four times a second, of the process and its children.
        output: what the command printed last, e.g. the numbers of records and versions.
    """

    wall_seconds: float
    load_seconds: float
    cpu_seconds: float
    peak_rss: int
    peak_pss: int
    output: dict[str, Any] = field(default_factory=dict)


def bench(
    workload: Workload,
    *,
    runs: int,
    children: bool,
    file: Path | None = None,
    filling: Filling | None = None,
    kept: Path | None = None,
) -> dict[str, Any]:
    """Make the workload's records, load them `runs` times into new lakes, and tell everything about it.

    Args:
        workload: the records.
        runs: how often; the median counts.
        children: with the child table.
        file: an existing file with these records.
        filling: the records come from a topic that is filled like this.
        kept: where a broker keeps its topics from one time to the next.
    """
    with tempfile.TemporaryDirectory(prefix="bitlake-bench-") as folder, ExitStack() as stack:
        data = file or Path(folder) / "records.jsonl"
        if file is None:
            workload.write(data)
        if filling is None:
            config, words = lake(children=children), load_words(data)
        else:
            cluster = stack.enter_context(broker(kept))
            config, words = following(cluster, topic(cluster, workload, filling), children=children)
        taken = [load(config, words) for _ in range(runs)]
        return {
            "machine": machine(),
            "versions": versions(),
            "conditions": {
                "workload": asdict(workload),
                "source": "file" if filling is None else described(filling),
                "child_table": children,
                "bytes": data.stat().st_size,
            },
            "runs": [asdict(run) for run in taken],
            "median": median(workload.records, taken),
        }


def load_words(data: Path) -> list[str]:
    """The command that loads a file."""
    return ["load", "bonds", str(data.resolve())]


def following(cluster: Any, topic: str, *, children: bool, more: str = "") -> tuple[str, list[str]]:
    """The lake.yaml, with `more` in it, and the command to follow a topic to its end."""
    config = lake(children=children, topic=topic) + f"\nkafka: {json.dumps(cluster.properties)}\n{more}\n"
    return config, ["run", "bonds", "--until-end"]


def median(records: int, runs: Sequence[Run]) -> dict[str, float]:
    """The medians over the runs, and per record."""
    wall = statistics.median(run.wall_seconds for run in runs)
    load = statistics.median(run.load_seconds for run in runs)
    cpu = statistics.median(run.cpu_seconds for run in runs)
    return {
        "records_per_second": round(records / wall),
        "load_records_per_second": round(records / load) if load else 0,
        "wall_seconds": round(wall, 3),
        "cpu_microseconds_per_record": round(cpu / records * 1e6, 3),
        "peak_rss": max(run.peak_rss for run in runs),
        "peak_pss": max(run.peak_pss for run in runs),
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "cpu": model or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """What the figures were measured with."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def load(config: str, words: Sequence[str]) -> Run:
    """Run a command of bitlake in a new lake, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bitlake-lake-") as name:
        (Path(name) / "lake.yaml").write_text(config, encoding="utf-8")
        return _measure([command(), *words, "--output", "json", "--log-format", "json"], Path(name))


def command() -> str:
    """The installed command."""
    beside = Path(sys.executable).with_name("bitlake")
    command = str(beside) if beside.exists() else shutil.which("bitlake")
    if command is None:
        raise BitlakeError("there is no command bitlake", next_step="install the project: `pip install -e .`")
    return command


def bitlake(folder: Path, *words: str) -> Any:
    """Run a command in a folder with a lake.yaml; the last that it tells, or None."""
    done = subprocess.run(
        [command(), *words, "--output", "json"], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BitlakeError(f"`bitlake {' '.join(words)}` failed: {done.stderr[-3000:]}")
    told = done.stdout.splitlines()
    return json.loads(told[-1]) if told else None


def committed(folder: Path) -> int:
    """The sum of the offsets that the first dataset of a lake has committed."""
    position = Lake.open(folder / "lake.yaml", {}).status()[0].position
    return sum(position.offsets.values()) if position else 0


def _measure(command: list[str], folder: Path) -> Run:
    with (
        (folder / "output").open("w+", encoding="utf-8") as output,
        (folder / "log").open("w+", encoding="utf-8") as log,
    ):
        begin = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=log)
        watcher = MemoryWatcher(process.pid)
        watcher.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = watcher.stop()
        output.seek(0)
        lines = output.read().splitlines()
        log.seek(0)
        told = log.read()
    if process.returncode != 0:
        raise BitlakeError(
            f"`{' '.join(command)}` ended with status {process.returncode}",
            next_step=told[-2000:],
        )
    last = json.loads(lines[-1]) if lines else {}
    return Run(wall, _load_seconds(told), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, peak, last)


def _load_seconds(log: str) -> float:
    lines = (json.loads(line) for line in log.splitlines() if line.startswith("{"))
    return next((line["seconds"] for line in lines if line["event"] in ("loaded", "ended")), 0.0)


class MemoryWatcher(threading.Thread):
    """Samples the memory of a process and its children: shared pages count once.

    Attributes:
        peak: bytes, the most so far.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._ended = threading.Event()
        self.peak = 0

    def run(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            self.peak = max(self.peak, _tree_pss(self._pid))

    def stop(self) -> int:
        self._ended.set()
        self.join()
        return self.peak


def _tree_pss(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:  # it has ended
        return 0
    own = sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
    return own + sum(_tree_pss(int(child)) for child in children)
