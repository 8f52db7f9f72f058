"""How long answers take: in whole processes, from the start of Python to its end, and in one that is warm."""

import os
import shlex
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.figures import surroundings, table
from benchmarks.runner import command, machine, versions
from pipeline.lake import Lake


def measure(config: Path, key: Mapping[str, str], runs: int) -> dict[str, Any]:
    """Ask the dataset ``bonds`` of a loaded workload, each question in turn, so many times.

    Returns:
        Machine, versions, what the tables hold, and wall and CPU seconds of every run.
    """
    found = {"machine": machine(), "versions": versions(), "tables": _tables(config), "key": dict(key)}
    questions = _questions(key)
    processes: dict[str, list[dict[str, float]]] = {shlex.join(words): [] for words in questions}
    for words in [words for _ in range(runs) for words in questions]:
        processes[shlex.join(words)].append(_process(config, words))
    lake = Lake.open(config)
    warm = {
        "asof, one key": _calls(runs, lambda: lake.asof("bonds", key=key)),
        "asof, all keys": _calls(runs, lambda: lake.asof("bonds")),
    }
    return found | {"load_after": round(os.getloadavg()[0], 2), "processes": processes, "warm": warm}


def report(result: Mapping[str, Any]) -> str:
    """A page about a result of `measure`."""
    tables = result["tables"]
    parts = [
        "# Answers",
        (
            "Whole processes, from the start of Python to its end (`bitlake ... --output csv`, thrown away);"
            " modules were compiled before. Least and median of all runs, in seconds."
        ),
        table(("command", "runs", "wall, least", "wall, median", "CPU, least"), _rows(result["processes"])),
        "The same in a process that has asked before (`Lake.asof`):",
        table(("question", "runs", "wall, least", "wall, median", "CPU, least"), _rows(result["warm"])),
        table(
            ("what", "figure"),
            [
                *surroundings(result),
                ("load afterwards", str(result["load_after"])),
                *((name, f"{size['rows']:,} rows in {size['files']} files") for name, size in tables.items()),
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _questions(key: Mapping[str, str]) -> list[list[str]]:
    one = [word for name, value in key.items() for word in ("--key", f"{name}={value}")]
    condition = " AND ".join(f"{name} = '{value}'" for name, value in key.items())
    return [
        ["asof", "bonds", *one],
        ["timeline", "bonds", *one],
        ["history", "bonds", *one],
        ["diff", "bonds", "--from", "2020-01-01", *one],
        ["sql", f"SELECT * FROM bonds_asof() WHERE {condition}"],
        ["status"],
        ["dead-letters", "list"],
        ["asof", "bonds"],
        ["config", "check"],
        ["--help"],
    ]


def _process(config: Path, words: list[str]) -> dict[str, float]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    plain = words[0] in ("config", "--help")
    line = [command(), *words, *([] if plain else ["--output", "csv"])]
    begun = time.perf_counter()
    process = subprocess.Popen(line, cwd=config.parent, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, line)
    return {"wall": round(wall, 4), "cpu": round(usage.ru_utime + usage.ru_stime, 4)}


def _calls(runs: int, ask: Callable[[], Any]) -> list[dict[str, float]]:
    ask()
    found = []
    for _ in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        ask()
        found.append(
            {"wall": round(time.perf_counter() - wall, 4), "cpu": round(time.process_time() - cpu, 4)}
        )
    return found


def _tables(config: Path) -> dict[str, dict[str, int]]:
    return {
        name: {"rows": size.rows, "files": size.files}
        for dataset in Lake.open(config).status()
        for name, size in dataset.tables.items()
    }


def _rows(measured: Mapping[str, list[dict[str, float]]]) -> list[tuple[str, ...]]:
    return [
        (
            f"`{what}`",
            str(len(runs)),
            f"{min(run['wall'] for run in runs):.2f}",
            f"{statistics.median(run['wall'] for run in runs):.2f}",
            f"{min(run['cpu'] for run in runs):.2f}",
        )
        for what, runs in measured.items()
    ]
