"""One stream through the whole pipeline and through the naive model, and what differs."""

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.cli.plain import plain_rows
from pipeline.lake import Lake
from tests.model.compare import asof_json, diff_json, history_json, instant_json, timeline_json
from tests.model.oracle import Model
from tests.model.strategies import Stream

COUNTS = ("records", "changes", "no_ops", "dead_letters", "versions")


@dataclass(frozen=True)
class Way:
    """How a stream goes into a lake: the rows must not depend on it.

    Attributes:
        commit_records: records per epoch.
        cuts: where the stream is cut into files, each loaded by an engine of its own.
        rebuild: the state directory is deleted before each file but the first.
        mode: append or upsert.
    """

    commit_records: int
    cuts: tuple[int, ...] = ()
    rebuild: bool = False
    mode: str = "append"


def random_way(seed: int, records: int, *, rebuild: bool = False, mode: str = "append") -> Way:
    """A way by seed."""
    choose = random.Random(seed)
    commit_records = choose.choice((1, 7, 40, 10_000))
    count = max(choose.randrange(4), rebuild)
    cuts = choose.sample(range(1, records), min(count, records - 1)) if records > 1 else []
    return Way(commit_records, tuple(sorted(cuts)), rebuild, mode)


def model_of(stream: Stream) -> Model:
    """The model after a stream."""
    model = Model(stream.entry)
    model.load(stream.envelope_lines(), started=0, envelope=True)
    return model


def load(
    directory: Path, stream: Stream, way: Way, settings: dict[str, Any] | None = None
) -> tuple[Lake, dict[str, int]]:
    """A lake of one dataset with a stream in it, and the summed counts of its loads.

    Args:
        directory: where the lake is.
        stream: the records.
        way: how they go in.
        settings: more of lake.yaml, such as a catalog.
    """
    directory.mkdir(parents=True, exist_ok=True)
    commit = {"records": way.commit_records, "seconds": 3600}
    content = {"commit": commit, "datasets": [stream.entry | {"mode": way.mode}]}
    (directory / "lake.yaml").write_text(json.dumps(content | (settings or {})))
    lake, lines = Lake.open(directory / "lake.yaml", {}), stream.envelope_lines()
    total = dict.fromkeys(COUNTS, 0)
    for start, end in zip([0, *way.cuts], [*way.cuts, len(lines)], strict=True):
        if way.rebuild and start:
            shutil.rmtree(lake.config.state)
        file = directory / f"from-{start}.jsonl"
        file.write_bytes(b"".join(line + b"\n" for line in lines[start:end]))
        summary = lake.load_files(stream.entry["name"], [file], envelope=True)
        total = {name: count + getattr(summary, name) for name, count in total.items()}
    return lake, total


def objects(rows: pa.Table) -> list[dict[str, Any]]:
    """Rows as the commands print them with ``--output json``."""
    return [dict(zip(rows.column_names, row, strict=True)) for row in plain_rows(rows)]


def differences(
    directory: Path, stream: Stream, *, seed: int, settings: dict[str, Any] | None = None, **more: Any
) -> list[str]:
    """Load a stream in a random way, and compare its histories and counts with the model's."""
    model = model_of(stream)
    lake, counts = load(directory, stream, random_way(seed, len(stream.records), **more), settings)
    found = [
        f"{name}: {count} instead of {getattr(model.counts, name)}"
        for name, count in counts.items()
        if count != getattr(model.counts, name)
    ]
    for table in lake.tables:
        mine = objects(lake.history(table, provenance=True))
        found += different(f"history {table}", mine, history_json(model, table))
    return found


def answers_that_differ(lake: Lake, model: Model, *, seed: int, points: int) -> list[str]:
    """Ask at random points of valid and system time, on boundaries and beside them, and compare."""
    choose, found = random.Random(seed), []
    systems = sorted({s for r in model.rows for s in (r.system_from, r.system_to or r.system_from)}) or [0]
    valids = sorted({v for r in model.rows for v in (r.valid_from, r.valid_to)}) or [0]
    for table in lake.tables:
        for _ in range(points):
            system, later = (choose.choice(systems) + choose.choice((-1, 0, 0, 1)) for _ in range(2))
            valid = min(choose.choice(valids) + choose.choice((-1, 0, 0, 1)), model.dataset.end - 1)
            at, then = instant_json(system), instant_json(later)
            asked = f"{table} at valid {valid}, system {at}, {then}"
            moment = _moment(model, valid)
            mine = objects(lake.asof(table, valid=moment, system=at))
            found += different(f"asof {asked}", mine, asof_json(model, valid, system, table))
            mine = objects(lake.timeline(table, system=at))
            found += different(f"timeline {asked}", mine, timeline_json(model, system, table))
            mine = objects(lake.diff(table, at, then))
            found += different(f"diff {asked}", mine, diff_json(model, system, later, table))
    return found


def _moment(model: Model, valid: int) -> str:
    return instant_json(valid * 86_400_000_000 if model.dataset.dated else valid)


def different(what: str, mine: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> list[str]:
    """The first row that differs; topics are the pipeline's own."""
    mine, theirs = ([{**row, "source_topic": None} for row in rows] for rows in (mine, theirs))
    if mine == theirs:
        return []
    for i, (a, b) in enumerate(zip(mine, theirs, strict=False)):
        if a != b:
            return [f"{what}, row {i}:\n  got  {json.dumps(a)}\n  want {json.dumps(b)}"]
    return [f"{what}: {len(mine)} rows instead of {len(theirs)}"]
