"""The sink: an epoch's rows into the Iceberg tables of its dataset, once."""

import json
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.expressions import And, BooleanExpression, EqualTo
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from pipeline.errors import BitlakeError, Refused, Unavailable
from pipeline.faults import reach
from pipeline.places import is_local
from pipeline.schema import DatasetSchema, TableSchema
from pipeline.sink import claims, lease
from pipeline.sink import tables as iceberg
from pipeline.sink.catalog import explained, open_catalog
from pipeline.sink.claims import Claim
from pipeline.sink.commit import EpochCommit, Fenced, Replaced, persistent
from pipeline.sink.conventions import FLINK_JOB
from pipeline.sink.dead_letter_table import DEAD_LETTERS
from pipeline.sink.epoch import (
    DATASET,
    EPOCH,
    FLINK,
    INTENT,
    LETTERS,
    TABLES,
    WRITE,
    Epoch,
    FlinkRun,
    Position,
    TableRows,
)
from pipeline.sink.file_list import FileList, PlannedFile, TableFiles
from pipeline.sink.files import FileName, new_attempt, still_there, write_rows
from pipeline.sink.flink_positions import POSITIONS, moved, positions_table, refuse_in_part
from pipeline.sink.intents import delete_intent, intent_of, put_intent, read_intent
from pipeline.sink.lease import Tenant
from pipeline.sink.ledger import newest_summary, writer_of, writer_token
from pipeline.sink.scan import ALWAYS_TRUE, compare, may_be_among, scan_rows, storage
from pipeline.sink.tables import Mode, TableOptions
from pipeline.sink.upsert import Change, UpsertRows, rewrite

log = logging.getLogger(__name__)

WRITERS = 2
"""Data files of an epoch that are written at the same time."""


class LakeSink:
    """Writes and commits epochs of any number of datasets; one thread may write while another commits.

    Args:
        catalog: from `pipeline.sink.catalog.open_catalog`.
        dead_letter_table: the Iceberg identifier of the table that all datasets' dead letters share.
    """

    def __init__(self, catalog: Catalog, dead_letter_table: str) -> None:
        self._catalog = catalog
        self._where = catalog.properties.get("uri", catalog.name)
        self._dead_letter_table = dead_letter_table
        self._tables: dict[str, Table] = {}
        self._modes: dict[str, Mode] = {}
        self._uncommitted: dict[str, str] = {}
        self._claims: dict[str, Claim] = {}
        self._lock, self._turns = threading.RLock(), dict[str, threading.RLock]()

    @classmethod
    def at(cls, catalog: Mapping[str, str], dead_letter_table: str) -> Self:
        """A sink into a catalog as lake.yaml has it, which is opened.

        Raises:
            BadConfiguration: it can't be understood, or refuses the credentials.
            Unavailable: it does not answer.
        """
        return cls(open_catalog(catalog), dead_letter_table)

    def open(self, dataset: DatasetSchema, *, mode: Mode, partition_by: Sequence[str]) -> DatasetSchema:
        """Make the dataset's tables ready: missing ones are created, declared columns added or widened.

        Returns:
            The schema with the columns that earlier runs inferred.

        Raises:
            Refused: a table can't take this dataset's rows.
            BadConfiguration: `partition_by` can't be understood.
            Unavailable: the catalog does not answer.
        """
        options = TableOptions(dataset.name, mode, partition_by)
        self._modes[dataset.name] = mode
        with explained(self._where), self._lock:
            opened = tuple(self._open_table(table, options, dataset) for table in dataset.tables)
            dead = iceberg.open_dead_letters(self._catalog, self._dead_letter_table)
            self._tables[self._dead_letter_table] = dead
        return DatasetSchema(dataset.name, opened)

    def unfit(self, dataset: DatasetSchema, *, mode: Mode, partition_by: Sequence[str]) -> dict[str, str]:
        """The dataset's tables, if one of them can't take its rows and none of them ever held any.

        Returns:
            Identifiers with why the table does not fit, empty where it does; those that do come first.
        """
        options = TableOptions(dataset.name, mode, partition_by)
        found, empty = dict[str, str](), True
        with explained(self._where), self._lock:
            for table in dataset.tables:
                try:
                    existing = self._catalog.load_table(table.identifier)
                except NoSuchTableError:
                    continue
                empty = empty and iceberg.never_held_rows(existing, dataset.name)
                if empty:
                    found[table.identifier] = iceberg.misfit(table, existing, options) or ""
        if not empty or not any(found.values()):
            return {}
        return dict(sorted(found.items(), key=lambda table: table[1] != ""))

    def drop(self, identifiers: Iterable[str]) -> None:
        """Take tables out of the catalog, in this order."""
        with explained(self._where), self._lock:
            for identifier in identifiers:
                self._tables.pop(identifier, None)
                self._catalog.drop_table(identifier)

    def positions(self, dataset: DatasetSchema) -> dict[str, Position | None]:
        """Per table, the position of the dataset's newest snapshot, read anew from the catalog.

        The table of dead letters is included; it gets a commit only in epochs that have dead letters.
        """
        own = [table.identifier for table in dataset.tables]
        with explained(self._where), self._lock:
            told = {name: self._newest(name, dataset.name) for name in (*own, self._dead_letter_table)}
            if any(told[name] is not None and FLINK in told[name] for name in own):  # type: ignore[operator]
                places = positions_table(self._dead_letter_table)
                refuse_in_part(own, {**told, places: self._newest(places, dataset.name)})
        return {name: self._position(summary) if summary else None for name, summary in told.items()}

    def committed(self, dataset: DatasetSchema) -> Position | None:
        """The position that all tables have of a Flink job, though some may have more; None: not yet any."""
        names = self._of_flink(dataset)
        with explained(self._where), self._lock:
            told = [self._newest(name, dataset.name) for name in names]
        summaries = [summary for summary in told if summary is not None and FLINK in summary]
        if len(summaries) < len(names) or len({FlinkRun.of(summary).run for summary in summaries}) > 1:
            return None
        least = min(summaries, key=lambda summary: int(summary[EPOCH]))
        return self._position(least)

    def _of_flink(self, dataset: DatasetSchema) -> tuple[str, ...]:
        """The tables that a Flink job commits each checkpoint of a dataset to."""
        own = (table.identifier for table in dataset.tables)
        return *own, self._dead_letter_table, positions_table(self._dead_letter_table)

    def _newest(self, identifier: str, dataset: str) -> dict[str, str] | None:
        """What the newest snapshot of a table says that is the dataset's, read anew from the catalog."""
        self._tables.pop(identifier, None)
        try:
            return newest_summary(self._table(identifier).metadata, dataset)
        except NoSuchTableError:
            return None

    def _position(self, summary: dict[str, str]) -> Position:
        """The position that a summary tells of; a Flink job's is in a table of its own."""
        position = Position.from_summary(summary)
        if FLINK not in summary:
            return position
        return self.flink_position(summary[DATASET], FlinkRun.of(summary), position)

    def flink_position(self, dataset: str, run: FlinkRun, position: Position) -> Position:
        """Where a Flink job's partitions were at the checkpoint that a position's epoch stands for."""
        with explained(self._where), self._lock:
            rows = self._flink_rows(dataset, run)
        return moved(position, rows, position.epoch - int(run.start[EPOCH]))

    def _flink_rows(self, dataset: str, run: FlinkRun) -> pa.Table:
        table = iceberg.open_positions(self._catalog, positions_table(self._dead_letter_table))
        wanted = And(compare(EqualTo, "dataset", dataset), compare(EqualTo, "run", run.run))
        rows = pa.Table.from_batches(scan_rows(table, POSITIONS, wanted), POSITIONS)
        return rows.filter((pc.field("dataset") == dataset) & (pc.field("run") == run.run))

    def flink_tables(self) -> tuple[str, str]:
        """The tables of dead letters and of positions that a Flink job needs, made if they are missing."""
        with explained(self._where), self._lock:
            places = self._dead_letter_table, positions_table(self._dead_letter_table)
            iceberg.open_dead_letters(self._catalog, places[0])
            iceberg.open_positions(self._catalog, places[1])
        return places

    def table(self, identifier: str) -> Table:
        """A table as it is now."""
        with explained(self._where), self._lock:
            table = self._tables[identifier] = iceberg.load_table(self._catalog, identifier)
        return table

    def find(self, identifier: str) -> Table | None:
        """A table as it is now; None if there is none."""
        with explained(self._where), self._lock:
            try:
                return iceberg.load_table(self._catalog, identifier)
            except (NoSuchTableError, NoSuchNamespaceError):
                return None

    def set_properties(self, identifier: str, properties: dict[str, str]) -> None:
        """Set properties of a table."""
        with explained(self._where), self._lock, self.table(identifier).transaction() as transaction:
            transaction.set_properties(properties)

    def members(self, dataset: DatasetSchema) -> frozenset[str]:
        """The tables that the dataset's newest epoch went to, as the snapshots found by `positions` tell."""
        found: set[str] = set()
        for table in dataset.tables:
            summary = newest_summary(self._table(table.identifier).metadata, dataset.name)
            found.update(json.loads(summary.get(TABLES, "[]")) if summary else ())
        return frozenset(found)

    def superseded(self, files: FileList) -> bool:
        """Whether a table has this epoch from another writer, as `positions` found it."""
        tables = [self._table(part.identifier) for part in files.tables]
        found = [newest_summary(table.metadata, files.dataset) for table in tables]
        epoch = str(files.position.epoch)
        return any(s is not None and s[EPOCH] == epoch and s.get(WRITE) != files.write for s in found)

    def elsewhere(self, files: FileList) -> bool:
        """Whether files of an epoch are not where its tables have theirs: they are those of a copied lake."""
        for part in files.tables:
            table = self._table(part.identifier)
            places = (table.location(), table.properties.get("write.data.path", table.location()))
            paths = [file.path for file in (*part.added, *part.rewritten) if is_local(file.path)]
            if any(not path.startswith(places) for path in paths):
                return True
        return False

    def written(self, dataset: DatasetSchema) -> list[str]:
        """The tables that hold rows, whoever wrote them, as they were when `positions` looked."""
        names = [table.identifier for table in dataset.tables]
        return [name for name in names if not iceberg.is_empty(self._table(name))]

    def check_lease(self, dataset: DatasetSchema, owner: str) -> None:
        """Refuse a dataset that another writer has; one without a table is nobody's.

        Raises:
            Leased: its lease is not over.
        """
        table = self.find(dataset.parent.identifier)
        if table is not None:
            lease.check(dataset.name, table.properties, owner)

    def claim(
        self, dataset: DatasetSchema, tenant: Tenant, *, flink: bool = False, token: int | None = None
    ) -> int:
        """Take a dataset, whoever had it: from now on no earlier writer commits to its tables.

        What they hold is to be looked at after it. Every epoch committed from now on renews the lease.

        Args:
            dataset: its schema; its tables are there.
            tenant: as whom.
            flink: for a Flink job.
            token: the number, if `next_token` gave it before.

        Returns:
            The writer token.

        Raises:
            Fenced: another writer claims it at the same time.
        """
        with explained(self._where), self._lock:
            tables = self._written_by(dataset, flink=flink)
            held = claims.claim(dataset.name, tables, tenant, self._turn, token=token)
            self._claims[dataset.name] = held
        return held.token

    def had_a_job(self, dataset: DatasetSchema) -> bool:
        """Whether a Flink job ever wrote the dataset, as its claim found it."""
        return FLINK_JOB in self._table(dataset.parent.identifier).properties

    def hold(self, dataset: DatasetSchema, tenant: Tenant, properties: Mapping[str, str]) -> None:
        """Have a claim's lease as another tenant, and set properties of the first table with it.

        Raises:
            Fenced: another writer has taken the dataset.
        """
        held = replace(self._claims[dataset.name], tenant=tenant)
        table = self.table(held.first)
        theirs = writer_token(table.metadata, dataset.name)
        if theirs != held.token:
            writer = writer_of(table.metadata, dataset.name)
            raise Fenced(dataset.name, held.first, held.token, theirs, writer)
        self._claims[dataset.name] = held
        with explained(self._where), self._lock, table.transaction() as transaction:
            transaction.set_properties({**properties, **held.renewal(held.first)})

    def next_token(self, dataset: DatasetSchema) -> int:
        """The writer token that the next claim of a dataset gets."""
        with explained(self._where), self._lock:
            return claims.next_token(dataset.name, self._written_by(dataset, flink=True).values())

    def _written_by(self, dataset: DatasetSchema, *, flink: bool) -> dict[str, Table]:
        """The tables that the dataset's writers commit each epoch to, the first one first, read anew.

        Those that all datasets share are among them where a Flink job is, or was: to others it matters only
        that letters follow their epoch, which needs no token.
        """
        own = len(dataset.tables)
        names = self._of_flink(dataset) if flink else self._of_flink(dataset)[:own]
        first = iceberg.load_table(self._catalog, names[0])
        if FLINK_JOB in first.properties:
            names = self._of_flink(dataset)
        others = ((name, self.find(name)) for name in names[1:])
        tables = {names[0]: first} | {name: table for name, table in others if table is not None}
        self._tables |= tables
        return tables

    def end_claims(self) -> None:
        """Let go of all datasets; where the catalog is away, leases end by themselves."""
        while self._claims:
            dataset, held = self._claims.popitem()
            try:
                with explained(self._where):
                    claims.end(self.table(held.first), held)
            except (Unavailable, Refused) as error:
                log.warning("the lease of '%s' was not ended: %s", dataset, error)

    def write(self, epoch: Epoch) -> FileList:
        """Evolve the tables as the epoch's schema asks, and write its rows to data files; commit nothing.

        In upsert mode the epoch before must have been committed: its rows may be superseded here.
        """
        dataset = epoch.dataset.name
        upsert = self._modes[dataset] == "upsert"
        if upsert and dataset in self._uncommitted:
            raise BitlakeError(
                f"'{dataset}': an epoch was written in upsert mode before the last one was committed",
                next_step="report this as a bug",
            )
        name = FileName(dataset, epoch.position.epoch, new_attempt())
        with explained(self._where):
            tables = tuple(reversed(epoch.tables))
            for rows in tables:
                self._evolve(rows.schema, self._table(rows.schema.identifier))
            written = self._write_upserts(tables, name) if upsert else self._write_all(tables, name)
            if epoch.dead_letters is not None and len(epoch.dead_letters):
                table = self._table(self._dead_letter_table)
                files = self._plan(table, write_rows(table, [epoch.dead_letters], name, "dead"))
                written.append(TableFiles(self._dead_letter_table, files))
            listed = FileList(dataset, name.attempt, epoch.position, tuple(written))
            if len(epoch.tables) > 1:
                put_intent(self._table(epoch.dataset.parent.identifier), listed)
        self._uncommitted[dataset] = name.attempt
        return listed

    def commit(self, files: FileList) -> None:
        """Commit each table once: children, then the parent, dead letters last.

        Tables that have the epoch are skipped, so it can be called again, and by another process. Dead
        letters are in the table that all datasets share, which no writer is kept from: they follow once the
        dataset's own tables have taken the epoch from this writer. Those tell where the letters are, for a
        writer that finds nothing else (`missing_letters`).

        Raises:
            Fenced: another writer has taken the dataset.
            Refused: another writer committed this epoch or a later one.
            Unavailable: the catalog does not answer; some tables may have the epoch. Call again.
        """
        own = [part for part in files.tables if part.identifier != self._dead_letter_table]
        letters = [file.path for part in files.tables if part not in own for file in part.added]
        summary = files.position.to_summary(files.dataset)
        summary |= {WRITE: files.write, TABLES: json.dumps(sorted(part.identifier for part in own))}
        if letters:
            summary[LETTERS] = json.dumps(letters)
        if len(own) > 1:
            summary[INTENT] = intent_of(self._table(own[-1].identifier), files)
        reach("before-first-commit")
        for number, part in enumerate(files.tables):
            if number:
                reach("between-commits")
            with explained(self._where), self._turn(part.identifier):
                committed = self._commit(part, files, summary)
            log.debug(
                "epoch %d of %s: %s", files.position.epoch, part.identifier, "new" if committed else "there"
            )
        reach("after-last-commit")
        self._uncommitted.pop(files.dataset, None)
        if len(own) > 1:
            delete_intent(self._table(own[-1].identifier), files)

    def unfinished(self, dataset: DatasetSchema) -> FileList | None:
        """The files of an epoch that an earlier writer, of another state, committed to some tables only.

        Whoever has claimed the dataset commits them to the others: nobody else wrote since the claim.
        """
        with explained(self._where), self._lock:
            told = {
                table.identifier: newest_summary(self._table(table.identifier).metadata, dataset.name)
                for table in dataset.tables
            }
            summaries = [summary for summary in told.values() if summary is not None and FLINK not in summary]
            newest = max(summaries, key=lambda summary: int(summary[EPOCH]), default=None)
            if newest is None or INTENT not in newest:
                return None
            behind = [
                n for n in json.loads(newest[TABLES]) if (told.get(n) or {}).get(WRITE) != newest[WRITE]
            ]
            return read_intent(self._table(dataset.parent.identifier), newest[INTENT]) if behind else None

    def missing_letters(self, dataset: DatasetSchema) -> FileList | None:
        """The dead letters of the newest epoch of the dataset's own tables, if theirs lacks that epoch."""
        with explained(self._where), self._lock:
            own = newest_summary(self._table(dataset.parent.identifier).metadata, dataset.name)
            if own is None or FLINK in own:
                return None
            found = self._newest(self._dead_letter_table, dataset.name)
            dead = self._table(self._dead_letter_table)
            if found is not None and int(found[EPOCH]) >= int(own[EPOCH]):
                return None
            files = self._plan(dead, still_there(dead, json.loads(own.get(LETTERS, "[]"))))
        if not files:
            return None
        part = TableFiles(self._dead_letter_table, files)
        return FileList(dataset.name, own[WRITE], Position.from_summary(own), (part,))

    def discard(self, files: FileList) -> None:
        """Delete the files of an epoch that was never committed; one that can't be deleted is logged."""
        for part in files.tables:
            io = self._table(part.identifier).io
            for file in (*part.added, *part.rewritten):
                try:
                    io.delete(file.path)
                except OSError as error:
                    log.warning("orphan data file %s stays: %s", file.path, error)
        self._uncommitted.pop(files.dataset, None)

    def scan_versions(
        self,
        table: TableSchema,
        keys: pa.Table | None = None,
        snapshot: int | None = None,
        opened: NDArray[np.int64] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """All rows of a table as it is now, open twins of closed rows included, as ``table.arrow``.

        Args:
            table: its schema.
            keys: only files that may hold rows of these are read; columns by name, without nulls.
            snapshot: the table as it was then.
            opened: only files that may hold rows open since one of these system times (ascending) are read.
        """
        with explained(self._where):
            # Not the one at hand: an epoch may be about to be committed to that on another thread.
            stored = iceberg.load_table(self._catalog, table.identifier)
            plain = None if keys is None else storage(keys, keys.column_names)
            row_filter: BooleanExpression = ALWAYS_TRUE
            if plain is not None:
                for name in plain.column_names:
                    row_filter = And(row_filter, may_be_among(name, plain[name]))
            yield from scan_rows(stored, table.arrow, row_filter, snapshot, opened)

    def dead_letters(self, dataset: str, epoch: int) -> pa.Table:
        """The rows that an epoch of a dataset brought to the table of dead letters, as `DEAD_LETTERS`."""
        wanted = And(compare(EqualTo, "dataset", dataset), compare(EqualTo, "epoch", epoch))
        with explained(self._where):
            table = self._table(self._dead_letter_table).refresh()
            rows = pa.Table.from_batches(scan_rows(table, DEAD_LETTERS, wanted), DEAD_LETTERS)
        return rows.filter((pc.field("dataset") == dataset) & (pc.field("epoch") == epoch))

    def _commit(self, part: TableFiles, files: FileList, summary: dict[str, str]) -> bool:
        change = Change(part, FileName(files.dataset, files.position.epoch, new_attempt()))
        held = self._claims.get(files.dataset)

        def commit() -> EpochCommit:
            return EpochCommit(
                self._table(part.identifier),
                files.dataset,
                summary,
                change.files,
                token=held.token if held else 0,
                writer=held.tenant.holder if held else "",
                shared=part.identifier == self._dead_letter_table,
                properties=held.renewal(part.identifier) if held else {},
            )

        try:
            return commit().run()
        except Replaced:
            if part.identifier != self._dead_letter_table:
                raise
        # The one table that several processes may create at once; see `tables._create`.
        del self._tables[part.identifier]
        return commit().run()

    def _open_table(self, table: TableSchema, options: TableOptions, dataset: DatasetSchema) -> TableSchema:
        try:
            existing = iceberg.load_table(self._catalog, table.identifier)
        except NoSuchTableError:
            existing = iceberg.create_table(self._catalog, table, options)
            reach("after-new-table")
        iceberg.check_table(table, existing, options)
        self._tables[table.identifier] = existing
        arrays = [t.arrays[-1] for t in dataset.tables if t.arrays and t.arrays[:-1] == table.arrays]
        full = iceberg.read_back(table, existing, arrays)
        self._evolve(full, existing)
        return full

    def _evolve(self, table: TableSchema, existing: Table) -> None:
        for attempt in persistent():
            with attempt, self._turn(table.identifier):
                if attempt.retry_state.attempt_number > 1:
                    existing.refresh()
                if iceberg.needs_evolution(table, existing):
                    iceberg.evolve(table, existing)

    def _turn(self, identifier: str) -> AbstractContextManager[bool]:
        """To be held while a table is committed to: a dataset does not wait for the commits of others."""
        return self._turns.setdefault(identifier, threading.RLock())

    def _write_all(self, tables: Sequence[TableRows], name: FileName) -> list[TableFiles]:
        """Write open and closed rows of all tables, two files at a time: a last epoch has the cores alone."""

        def write(rows: TableRows, chunks: Iterable[pa.Table], kind: str) -> tuple[PlannedFile, ...]:
            table = self._table(rows.schema.identifier)
            return self._plan(table, write_rows(table, chunks, name, kind))

        with ThreadPoolExecutor(WRITERS, "write") as pool:
            opened = [pool.submit(write, rows, rows.open, "open") for rows in tables]
            closed = [pool.submit(write, rows, rows.closed, "closed") for rows in tables]
            return [
                TableFiles(rows.schema.identifier, a.result() + b.result())
                for rows, a, b in zip(tables, opened, closed, strict=True)
            ]

    def _write_upserts(self, tables: Sequence[TableRows], name: FileName) -> list[TableFiles]:
        return [self._write_upsert(self._table(rows.schema.identifier), rows, name) for rows in tables]

    def _write_upsert(self, table: Table, rows: TableRows, name: FileName) -> TableFiles:
        sorted_ = UpsertRows.of(rows)
        opened = self._plan(table, write_rows(table, [sorted_.open], name, "open"))
        passed = self._plan(table, write_rows(table, [sorted_.passed], name, "passed"))
        closed = self._plan(table, write_rows(table, [sorted_.closed], name, "closed"))
        taken, put = rewrite(table, sorted_.closed, name)
        return TableFiles(
            rows.schema.identifier,
            opened + passed + closed,
            replaced=tuple(file.file_path for file in taken),
            rewritten=self._plan(table, put),
            closed=tuple(file.path for file in closed),
        )

    def _plan(self, table: Table, written: Iterable[DataFile]) -> tuple[PlannedFile, ...]:
        schema, specs = table.schema(), table.specs()
        return tuple(PlannedFile.of(file, specs[file.spec_id], schema) for file in written)

    def _table(self, identifier: str) -> Table:
        table = self._tables.get(identifier)
        if table is None:
            table = self._tables[identifier] = iceberg.load_table(self._catalog, identifier)
        return table
