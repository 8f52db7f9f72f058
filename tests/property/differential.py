"""One stream through the whole pipeline and through the naive model, and what differs."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any


from pipeline.cli.plain import plain_rows
from pipeline.lake import Lake
from tests.model.compare import history_json
from tests.model.oracle import Model
from tests.model.strategies import Stream

COUNTS = ("records", "changes", "no_ops", "dead_letters", "versions")


def lake_in(directory: Path, entry: dict[str, Any], *, commit_records: int) -> Lake:
    """A lake of one dataset, with nothing in it."""
    directory.mkdir(parents=True, exist_ok=True)
    content = {"commit": {"records": commit_records, "seconds": 3600}, "datasets": [entry]}
    (directory / "lake.yaml").write_text(json.dumps(content))
    return Lake.open(directory / "lake.yaml", {})


def load_in_parts(lake: Lake, directory: Path, name: str, lines: Sequence[bytes], cuts: Sequence[int]) -> list[int]:
    """Load the lines as several files, each by an engine of its own; the summed counts."""
    total = [0] * len(COUNTS)
    for part, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(lines)], strict=True)):
        file = directory / f"part{part}-{start}.jsonl"
        file.write_bytes(b"".join(line + b"\n" for line in lines[start:end]))
        summary = lake.load_files(name, [file], envelope=True)
        total = [a + getattr(summary, n) for a, n in zip(total, COUNTS, strict=True)]
    return total


def answers(lake: Lake, name: str) -> list[dict[str, Any]]:
    """The history of a table as `bitlake history --output json --provenance` gives it."""
    rows = lake.history(name, provenance=True)
    names = rows.column_names
    return [dict(zip(names, row, strict=True)) for row in plain_rows(rows)]


def differences(directory: Path, stream: Stream, *, seed: int) -> list[str]:
    """Load a stream, cut at random, and compare its histories and counts with the model's."""
    choose = random.Random(seed)
    lines = stream.envelope_lines()
    model = Model(stream.entry)
    model.load(lines, started=0, envelope=True)
    lake = lake_in(directory, stream.entry, commit_records=choose.choice((1, 7, 40, 10_000)))
    cuts = sorted(choose.sample(range(1, len(lines)), min(choose.randrange(4), len(lines) - 1)))
    name = stream.entry["name"]
    counts = load_in_parts(lake, directory, name, lines, cuts)
    found = [f"{n}: {c} instead of {getattr(model.counts, n)}" for n, c in zip(COUNTS, counts, strict=True) if c != getattr(model.counts, n)]
    for table in lake.tables:
        mine, theirs = answers(lake, table), history_json(model, table)
        found += _different(table, mine, theirs)
    return found


def _different(table: str, mine: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> list[str]:
    for rows in (mine, theirs):
        for row in rows:
            del row["source_topic"]
    if mine == theirs:
        return []
    for i, (a, b) in enumerate(zip(mine, theirs, strict=False)):
        if a != b:
            return [f"{table}, row {i}:\n  got  {json.dumps(a)}\n  want {json.dumps(b)}"]
    return [f"{table}: {len(mine)} rows instead of {len(theirs)}"]
