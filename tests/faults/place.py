"""A lake whose writers are killed, and what the naive model says must be in it."""

import gzip
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pyiceberg.catalog import Catalog

from pipeline.cli.plain import plain_rows
from pipeline.config import Mode
from pipeline.engine.journal import Journal
from pipeline.lake import Lake
from pipeline.sink.catalog import open_catalog
from pipeline.sink.epoch import Position
from pipeline.sink.lake_sink import LakeSink
from pipeline.sink.ledger import newest_summary
from state import open_state
from tests.faults.runs import OUTCOME, Deed, Load, Replay
from tests.forks import Forks
from tests.invariants import Evidence, check, resumed, same_state
from tests.model import Model
from tests.model.compare import history_json
from tests.model.generate import Entry
from tests.model.oracle import Origin
from tests.model.strategies import random_stream

KILLED = -9
RUN = "tests.faults.runs:run"


class Place:
    """A folder with a lake of some datasets, written by processes of `forks`."""

    def __init__(
        self, folder: Path, forks: Forks, *entries: Entry, settings: dict[str, Any] | None = None
    ) -> None:
        self.folder, self.entries, self.forks = folder, entries, forks
        folder.mkdir(parents=True, exist_ok=True)
        content = {"commit": {"records": 7, "seconds": 3600}, "datasets": entries}
        (folder / "lake.yaml").write_text(json.dumps(content | (settings or {})))

    @cached_property
    def lake(self) -> Lake:
        """The lake; it looks into the tables anew at every question."""
        return Lake.open(self.folder / "lake.yaml", {})

    @cached_property
    def catalog(self) -> Catalog:
        """The lake's catalog."""
        return open_catalog(self.lake.config.catalog)

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.lake.config.state

    def file(self, name: str, lines: Sequence[bytes]) -> str:
        """Write a file of lines; compressed if its name says so."""
        path, data = self.folder / name, b"".join(line + b"\n" for line in lines)
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(path)

    def kill(self, load: Deed, point: str) -> None:
        """Load until the process dies at `point`, which it must reach."""
        status = self._run(load, point)
        assert status == KILLED, f"ended with {status} and never came to {point}"

    def finish(self, load: Deed) -> dict[str, Any]:
        """Load to the end; the summary."""
        outcome = self.outcome(load)
        assert "error" not in outcome, outcome
        return outcome

    def refused(self, load: Deed, error: str = "Refused") -> str:
        """Load, which must fail; the message."""
        assert self._run(load) == 0
        outcome = self._outcome()
        assert outcome.get("error") == error, outcome
        return str(outcome["message"])

    def outcome(self, load: Deed) -> dict[str, Any]:
        """Load; the summary, or the error and its message."""
        before = self.committed(load.dataset)
        assert self._run(load) == 0
        return self._outcome() if isinstance(load, Replay) else self._resumed(load.dataset, before)

    def stop(self, load: Deed, point: str) -> int:
        """Load until the process stops at `point`; its id, for `resume`."""
        return self.forks.run_until_stopped(RUN, *self._words(replace(load, mishap=f"stop@{point}")))

    def resume(self, process: int) -> dict[str, Any]:
        """Have a stopped process go on; its summary, or the error and its message."""
        assert self.forks.resume(process) == 0
        return self._outcome()

    def _resumed(self, dataset: str, before: Position | None) -> dict[str, Any]:
        outcome = self._outcome()
        if "error" not in outcome:
            after = self.committed(dataset)
            assert after is not None
            resumed(before, after, outcome)
        return outcome

    def committed(self, dataset: str) -> Position | None:
        """The position of the dataset's own table."""
        identifier = self.lake.tables[dataset].identifier
        if not self.catalog.table_exists(identifier):
            return None
        summary = newest_summary(self.catalog.load_table(identifier).metadata, dataset)
        return Position.from_summary(summary) if summary else None

    def proceeds(self, model: Model, *, seed: int) -> None:
        """More records go on from where the tables are; first with the state there is, then without."""
        self.check(model)
        stream = random_stream(seed, 24, entry=self.entries[0])
        for name, lines in (("kept", stream.envelope_lines()[:12]), ("lost", stream.envelope_lines()[12:])):
            if name == "lost":
                self.lose_state()
            self.finish(Load(model.dataset.name, [self.file(f"{name}.jsonl", lines)]))
            model.load(lines, started=0, envelope=True, first=model.records)
            self.check(model)

    def lose_state(self) -> None:
        """Delete the state directory."""
        shutil.rmtree(self.state)

    def position(self, dataset: str) -> Position:
        """Where the dataset's tables are, which must all be at the same epoch."""
        tables = [t for name, t in self.lake.tables.items() if name.split("__")[0] == dataset]
        found = [newest_summary(self.catalog.load_table(t.identifier).metadata, dataset) for t in tables]
        positions = [Position.from_summary(summary) for summary in found if summary is not None]
        assert len(positions) == len(tables)
        assert all(p == positions[0] for p in positions), positions
        backend = open_state(self.state)
        try:
            journal = Journal(backend, dataset)
            assert (journal.mark(), journal.intent()) == (positions[0], None)
        finally:
            backend.close()
        return positions[0]

    def check(self, model: Model, *, exact_times: bool = True) -> None:
        """What the tables hold is what the model says: rows, dead letters, offsets and clocks."""
        self.check_position(model, exact_times=exact_times)
        self.check_rows(model)
        self._check_dead_letters(model)
        self.check_invariants(model)

    def check_position(self, model: Model, *, exact_times: bool) -> None:
        """The tables are where the model is."""
        position = self.position(model.dataset.name)
        assert position.offsets == ({0: model.records} if model.records else {})
        if exact_times:
            assert position.clocks == model.clocks

    def check_invariants(self, model: Model) -> None:
        """What must hold of any tables holds of these, and the state is what they give."""
        name = model.dataset.name
        tables = {table.name: self.lake.tables[table.name] for table in model.dataset.tables}
        letters = self.lake.config.dead_letters.table
        evidence = Evidence(self.catalog, name, tables, letters, upsert=self._upsert(name))
        check(evidence, no_ops=model.no_ops)
        assert self.forks.run(RUN, "state", str(self.folder), name) == 0
        found = self._outcome()
        assert "error" not in found, found
        same_state(found["held"], found["rebuilt"])

    def check_rows(self, model: Model) -> None:
        """Every table has the rows that the model says."""
        for table in model.dataset.tables:
            self._check_history(model, table.name)
            self._check_rows(model, table.name)

    def _check_history(self, model: Model, table: str) -> None:
        rows = self.lake.history(table, provenance=True)
        got = [dict(zip(rows.column_names, row, strict=True)) for row in plain_rows(rows)]
        want = history_json(model, table)
        for row in (*got, *want):
            del row["source_topic"]
        for i, (a, b) in enumerate(zip(got, want, strict=False)):
            assert a == b, f"{table}, row {i}: {json.dumps(a)} instead of {json.dumps(b)}"
        assert len(got) == len(want), table

    def _check_rows(self, model: Model, table: str) -> None:
        """Every appended row is in the table once, open twins of closed rows too."""
        sink = LakeSink(self.catalog, self.lake.config.dead_letters.table)
        names = ("source_partition", "source_offset", "closed_by_partition", "closed_by_offset")
        got: Counter[tuple[Any, ...]] = Counter()
        for batch in sink.scan_versions(self.lake.tables[table]):
            got.update(zip(*(batch.column(name).to_pylist() for name in names), strict=True))
        rows = model.history(table) if self._upsert(model.dataset.name) else model.rows
        rows = [row for row in rows if row.table == table]
        assert got == Counter((*_origin(row.opened), *_origin(row.closed)) for row in rows)

    def _check_dead_letters(self, model: Model) -> None:
        rows = self.catalog.load_table(self.lake.config.dead_letters.table).scan().to_arrow().to_pylist()
        mine = [row for row in rows if row["dataset"] == model.dataset.name]
        found = sorted((row["partition"], row["offset"]) for row in mine)
        assert found == sorted((letter.partition, letter.offset) for letter in model.dead), mine
        assert len({row["id"] for row in mine}) == len(mine)

    def _upsert(self, dataset: str) -> bool:
        return self.lake.config.dataset(dataset).mode is Mode.UPSERT

    def _run(self, load: Deed, fault: str = "") -> int:
        return self.forks.run(RUN, *self._words(load), fault=fault)

    def _words(self, load: Deed) -> tuple[str, str, str]:
        return load.action, str(self.folder), json.dumps(asdict(load))

    def _outcome(self) -> dict[str, Any]:
        outcome: dict[str, Any] = json.loads((self.folder / OUTCOME).read_text())
        assert outcome["befell"], "nothing befell it"
        return outcome


def _origin(origin: Origin | None) -> tuple[int | None, int | None]:
    return (None, None) if origin is None else (origin.partition, origin.offset)
