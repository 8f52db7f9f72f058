"""Whether the tables are what the naive model says, and every invariant holds."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyiceberg.table.metadata import TableMetadata

from pipeline.cli.plain import plain_rows
from pipeline.config import LakeConfig, Mode, dataset_schema
from pipeline.engine.journal import Journal
from pipeline.schema import PROVENANCE, DatasetSchema, TableSchema
from pipeline.sink.catalog import open_catalog
from pipeline.sink.epoch import Position
from pipeline.sink.lake_sink import LakeSink
from pipeline.sink.ledger import newest_summary
from state import StateBackend
from tests.faults.state import held_and_rebuilt
from tests.invariants import Evidence, check, same_state
from tests.model import Model
from tests.model.compare import history_json

NO_END = ("9999-12-31T00:00:00.000000Z", "9999-12-31")
SYSTEM = ("system_from", "system_to")


class Judge:
    """Looks at a lake's only dataset while nobody writes.

    Args:
        lake: its configuration.
        lifts: clocks were lifted, so system times are not the model's.
    """

    def __init__(self, lake: LakeConfig, *, lifts: bool) -> None:
        self._lake, self._lifts = lake, lifts
        self._config = lake.datasets[0]
        self._catalog = open_catalog(lake.catalog)

    def position(self) -> Position | None:
        """How far the dataset's own table has come."""
        identifier = self._config.table
        if not self._catalog.table_exists(identifier):
            return None
        summary = newest_summary(self._catalog.load_table(identifier).metadata, self._config.name)
        return Position.from_summary(summary) if summary else None

    def check(self, model: Model, state: StateBackend) -> None:
        """The records of the model, and no others, are in the tables as it says."""
        config, letters = self._config, self._lake.dead_letters.table
        sink = LakeSink(self._catalog, letters)
        schema = sink.open(dataset_schema(config), mode=config.mode.value, partition_by=config.partitions)
        self._check_position(model, schema, sink, state)
        for table in schema.tables:
            self._check_table(model, table, sink)
        self._check_letters(model)
        tables = {table.name: table for table in dataset_schema(config).tables}
        upsert = config.mode is Mode.UPSERT
        check(Evidence(self._catalog, config.name, tables, letters, upsert=upsert), no_ops=model.no_ops)
        same_state(*held_and_rebuilt(self._lake, config.name, state))

    def _check_position(
        self, model: Model, schema: DatasetSchema, sink: LakeSink, state: StateBackend
    ) -> None:
        found = sink.positions(schema)
        positions = [found[table.identifier] for table in schema.tables]
        position = positions[0]
        assert position is not None
        assert all(other == position for other in positions), positions
        assert sum(position.offsets.values()) == model.records, (position, model.records)
        if not self._lifts:
            assert {p: c for p, c in position.clocks.items() if position.offsets.get(p)} == model.clocks
        journal = Journal(state, self._config.name)
        assert (journal.mark(), journal.intent()) == (position, None)

    def _check_table(self, model: Model, table: TableSchema, sink: LakeSink) -> None:
        batches = list(sink.scan_versions(table))
        rows = list(_objects(pa.Table.from_batches(batches, table.arrow)))
        wanted = model.history(table.name) if self._config.mode is Mode.UPSERT else model.rows
        origins = Counter(
            (row.opened.partition, row.opened.offset, row.closed and row.closed.offset)
            for row in wanted
            if row.table == table.name
        )
        names = ("source_partition", "source_offset", "closed_by_offset")
        assert Counter(tuple(row[name] for name in names) for row in rows) == origins, table.name
        key = [column.name for column in table.key]
        held = Counter(map(self._text, _closed_wins(rows, [*key, "system_from", "valid_from"])))
        meant = Counter(map(self._text, history_json(model, table.name)))
        assert held == meant, f"{table.name}: {held - meant} instead of {meant - held}"

    def _text(self, row: dict[str, Any]) -> str:
        left_out = ("source_topic", *(SYSTEM if self._lifts else ()))
        return json.dumps(
            {name: value for name, value in row.items() if name not in left_out}, sort_keys=True
        )

    def _check_letters(self, model: Model) -> None:
        rows = self._catalog.load_table(self._lake.dead_letters.table).scan().to_arrow().to_pylist()
        found = sorted((row["partition"], row["offset"]) for row in rows)
        assert found == sorted((letter.partition, letter.offset) for letter in model.dead), "dead letters"


def needed_snapshots(table: TableMetadata) -> set[int]:
    """The snapshots that no engine's expiry takes: those of branches and tags."""
    return {ref.snapshot_id for ref in table.refs.values()}


def _objects(rows: pa.Table) -> Iterator[dict[str, Any]]:
    """Rows as `history_json` writes them."""
    for values in plain_rows(rows):
        row = dict(zip(rows.column_names, values, strict=True))
        row |= {name: None for name in ("valid_to", "system_to") if row[name] in NO_END}
        assert set(PROVENANCE) <= set(row)
        yield row


def _closed_wins(rows: list[dict[str, Any]], identity: list[str]) -> list[dict[str, Any]]:
    def of(row: dict[str, Any]) -> str:
        return json.dumps([row[name] for name in identity])

    closed = {of(row) for row in rows if row["system_to"] is not None}
    return [row for row in rows if row["system_to"] is not None or of(row) not in closed]
