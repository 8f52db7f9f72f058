"""The library's front door: a lake to load records into and to ask questions of."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.config import LakeConfig, dataset_schema, load_config
from pipeline.config.mistakes import did_you_mean
from pipeline.errors import BadInput
from pipeline.query.instants import LATEST, Moment, day, instant, spelled
from pipeline.schema import TableSchema
from pipeline.sink.conventions import FLINK_JOB

if TYPE_CHECKING:
    import threading

    from pyiceberg.catalog import Catalog

    from pipeline.engine.epoch import Summary
    from pipeline.engine.watching import Watcher
    from pipeline.query.answers import Answers
    from pipeline.query.catalog import Tables
    from pipeline.query.dead_letters import DeadLetters, Wanted
    from pipeline.query.session import Session
    from pipeline.query.status import DatasetStatus
    from pipeline.query.stored import StoredTable
    from pipeline.sink.epoch import Position
    from pipeline.sink.relocation import Relocated
    from pipeline.views.trino import View

log = logging.getLogger(__name__)

Key = Mapping[str, Any]


class Lake:
    """A lake: the datasets of one lake.yaml.

    Answers are Arrow tables: the dataset's columns, then valid_from, valid_to, system_from, system_to,
    ordered by key, system_from, valid_from; no end is null. A moment is text (ISO, UTC where it has no
    offset, or ``now``), a date or a datetime. A table is asked by its dataset's name, a child table by
    ``DATASET__array``.

    Args:
        config: from `pipeline.config.load_config`; `Lake.open` reads it from a file.
    """

    def __init__(self, config: LakeConfig) -> None:
        self.config = config

    @staticmethod
    def open(path: str | PathLike[str] = "lake.yaml", environ: Mapping[str, str] | None = None) -> "Lake":
        """Open the lake of a lake.yaml.

        Args:
            path: the file; relative places in it are relative to its folder.
            environ: the environment for ``BITLAKE__...`` overrides; the process's own by default.

        Raises:
            BadConfiguration: with every mistake at its line.
        """
        import os

        return Lake(load_config(os.fspath(path), os.environ if environ is None else environ))

    def load_files(
        self,
        dataset: str,
        files: Sequence[str | Path],
        *,
        envelope: bool = False,
        take_over: bool = False,
        watcher: "Watcher | None" = None,
        wait: timedelta | None = None,
    ) -> "Summary":
        """Load JSON Lines files; an unfinished load of the same files goes on where it was.

        Args:
            dataset: its name.
            files: paths, also of .gz and .zst files; ``-`` is standard input.
            envelope: each line is ``{"timestamp": ..., "key": ..., "value": ...}``.
            take_over: take the dataset from a writer that holds it: that one commits nothing more.
            watcher: is told how it gets on.
            wait: how long to wait for another process that writes to this lake; default: not at all.

        Returns:
            The counts of records, changes, no-ops, dead letters, versions and epochs.

        Raises:
            BadInput: the dataset is not known, or a file can't be read, or holds envelopes and is not said
                to; what came before it is committed.
            Refused: another writer holds the dataset, or took it over meanwhile.
            Unavailable: the catalog or the warehouse does not answer, or another process writes.
        """
        from pipeline.engine.load import Engine

        self.config.dataset(dataset)
        with Engine(self.config, wait=wait) as engine:
            return engine.load_files(dataset, files, envelope=envelope, take_over=take_over, watcher=watcher)

    def run(
        self,
        datasets: Sequence[str] = (),
        *,
        until_end: bool = False,
        stop: "threading.Event | None" = None,
        take_over: bool = False,
        watching: "Callable[[str], Watcher] | None" = None,
        wait: timedelta | None = None,
    ) -> "Summary":
        """Follow the Kafka topics of datasets until `stop` is set; then what was read is committed.

        Args:
            datasets: their names; none: all of the lake.
            until_end: stop by itself where the topics end now.
            stop: to be set by another thread.
            take_over: take datasets from writers that hold them.
            watching: gives each dataset who is told how it gets on.
            wait: how long to wait for another process that writes to this lake; default: not at all.

        Returns:
            The counts of records, changes, no-ops, dead letters, versions and epochs.

        Raises:
            BadConfiguration: a topic is missing, or a client property is wrong.
            Refused: stored offsets are not in the topic any more, or it was made anew.
            Unavailable: Kafka, the catalog or the warehouse does not answer, or another process writes.
        """
        from pipeline.engine.epoch import Summary
        from pipeline.engine.load import Engine
        from state import StateLocked

        for name in datasets:
            self.config.dataset(name)
        try:
            opened = Engine(self.config, wait=wait, stop=stop)
        except StateLocked:
            if stop is not None and stop.is_set():
                return Summary()
            raise
        with opened as engine:
            return engine.run(
                datasets, until_end=until_end, stop=stop, take_over=take_over, watching=watching
            )

    def load(
        self,
        dataset: str,
        records: "Iterable[Mapping[str, Any]] | pa.Table",
        *,
        wait: timedelta | None = None,
    ) -> "Summary":
        """Load records: dicts, or the rows of an Arrow table; returns and raises as `load_files`.

        Decimals, dates, times and UUIDs become JSON text, bytes base64; a datetime without a zone is UTC.
        In a dead letter, ``line`` is the number of the record, from 1, and ``file`` is null.
        """
        from pipeline.engine.load import Engine
        from pipeline.json_lines import as_file

        self.config.dataset(dataset)
        with as_file(records) as file, Engine(self.config, wait=wait) as engine:
            return engine.load_files(dataset, [file], named=False)

    def replay_dead_letters(
        self,
        wanted: "Wanted | None" = None,
        *,
        take_over: bool = False,
        watcher: "Watcher | None" = None,
        wait: timedelta | None = None,
    ) -> "Summary":
        """Apply dead letters again, by dataset, partition and offset, as lake.yaml says today.

        A letter that became a change, or a no-op, waits no more; its system time is the replay's. One that
        is refused again waits, with its new reason, and is counted as a dead letter.

        Args:
            wanted: which of them; all that wait by default.
            take_over: take datasets from writers that hold them.
            watcher: is told how it gets on.
            wait: how long to wait for another process that writes to this lake; default: not at all.

        Raises:
            BadInput: a dataset is not known, or no letter has an id that is wanted.
            Unavailable: the catalog or the warehouse does not answer, or another process writes.
        """
        from pipeline.engine.epoch import Summary
        from pipeline.engine.load import Engine
        from pipeline.query.dead_letters import Wanted

        wanted = wanted or Wanted()
        if wanted.dataset is not None:
            self.config.dataset(wanted.dataset)
        summary = Summary()
        datasets = self._datasets_waiting(wanted)
        if not datasets:
            return summary
        with Engine(self.config, wait=wait) as engine:
            for dataset in datasets:
                waiting = partial(self._waiting, replace(wanted, dataset=dataset))
                summary += engine.replay(dataset, waiting, take_over=take_over, watcher=watcher)
        return summary

    def relocate(self, *, wait: timedelta | None = None) -> "list[Relocated]":
        """Have the tables of a lake that was moved or copied name the files that are here.

        Args:
            wait: how long to wait for another process that writes to this lake; default: not at all.

        Returns:
            The tables that were elsewhere; none: the lake is where its tables say.

        Raises:
            BadConfiguration: the lake's warehouse is no folder of this machine.
            Refused: files are missing here, or the catalog may be that of the lake that was copied.
            Unavailable: another process writes to the lake.
        """
        from pipeline.engine.relocating import relocate

        return relocate(self.config, wait=wait)

    def dismiss_dead_letters(self, wanted: "Wanted", reason: str, *, by: str | None = None) -> int:
        """Dismiss dead letters: they wait no more, and are not replayed.

        For records that were sent again, corrected, or are not wanted. Writers are not disturbed, and
        positions stay. All of the letters are dismissed, or none.

        Args:
            wanted: which of them, of those that wait. If it has ids, each of them must wait.
            reason: why; it is kept with the letters.
            by: who does it; default: this process's user and machine.

        Returns:
            How many were dismissed.

        Raises:
            BadInput: no reason is given, or a letter is not known, was replayed, or was dismissed already.
            Unavailable: the catalog or the warehouse does not answer.
        """
        from pipeline.engine.dismissal import Dismissal

        dismissal = Dismissal.of(wanted, reason, by)
        if self.dead_letters() is None:
            self._refuse_unknown(wanted)
            return 0
        with _explained():
            return dismissal.commit(self._catalog, self.config.dead_letters.table, self._session)

    def asof(
        self,
        table: str,
        *,
        valid: Moment = "now",
        system: Moment | None = None,
        key: Key | None = None,
        provenance: bool = False,
    ) -> pa.Table:
        """What was believed at `system` (default: now, all that is in the tables) about `valid`.

        Args:
            table: a dataset, or a child table of one.
            valid: the valid time in question.
            system: the system time of knowing. Up to the horizon the answer is final.
            key: values of key columns, not necessarily all; text is read as the column's type.
            provenance: add the columns that tell which changes opened and closed a version.

        Raises:
            BadInput: the table, a key column or a moment is not known.
            Unavailable: the catalog or the warehouse does not answer.
        """
        answers = self._answers(table, system)
        at = day(valid) if answers.shape.dated else instant(valid)
        with _explained():
            return answers.asof(at, _system(system), key=key, provenance=provenance)

    def timeline(
        self, table: str, *, system: Moment | None = None, key: Key | None = None, provenance: bool = False
    ) -> pa.Table:
        """All segments believed at `system`; arguments and errors as in `asof`."""
        with _explained():
            return self._answers(table, system).timeline(_system(system), key=key, provenance=provenance)

    def history(self, table: str, *, key: Key | None = None, provenance: bool = False) -> pa.Table:
        """All versions, each once; arguments and errors as in `asof`."""
        with _explained():
            return self._answers(table).history(key=key, provenance=provenance)

    def diff(
        self, table: str, before: Moment, after: Moment | None = None, *, key: Key | None = None
    ) -> pa.Table:
        """What changed in belief between two system times: pieces of valid time, net and merged.

        Returns:
            The key columns, valid_from, valid_to, change (added, removed, changed), old and new: structs
            of the dataset's columns, or null.
        """
        with _explained():
            return self._answers(table, before, after).diff(_system(before), _system(after), key=key)

    def sql(self, query: str) -> pa.Table:
        """Run SQL (DuckDB) over the views of `pipeline.views.duckdb`.

        Raises:
            BadInput: DuckDB refuses the query.
        """
        from pipeline.query.session import Session
        from pipeline.views.duckdb import create_plain_view, create_views

        session = Session()
        with _explained():
            for name, schema in self.tables.items():
                if (table := self._load(schema.identifier)) is not None:
                    create_views(session, name, table)
            if (dead := self._load(self.config.dead_letters.table)) is not None:
                create_plain_view(session, dead, self._dead_letters_of(dead, session).relation())
            return session.ask(query)

    def status(self) -> list["DatasetStatus"]:
        """Per dataset: its last epoch, what its tables hold, how many dead letters wait, its lag, its job."""
        from pipeline.query.status import dataset_status

        found, held = [], {}
        dead = self.dead_letters()
        causes = dead.causes() if dead is not None else []
        for dataset in self.config.datasets:
            schemas = dataset_schema(dataset).tables
            tables = {schema.name: self._load(schema.identifier) for schema in schemas}
            told = dataset_status(dataset.name, tables, [c for c in causes if c.dataset == dataset.name])
            found.append(replace(told, position=self._moved(dataset.name, tables.values(), told.position)))
            parent = tables[dataset.name]
            if parent is not None and FLINK_JOB in (properties := parent.metadata.get("properties", {})):
                held[dataset.name] = properties
        if held:
            from pipeline.flink.standing import standing

            jobs = standing(held)
            found = [replace(one, job=jobs.get(one.dataset)) for one in found]
        if not self.config.kafka:
            return found
        from pipeline.query.lag import with_lags

        return with_lags(found, {d.name: d.topic for d in self.config.datasets}, self.config.kafka)

    def dead_letters(self) -> "DeadLetters | None":
        """The dead letters of all datasets; None before the first load."""
        with _explained():
            table = self._load(self.config.dead_letters.table)
            return self._dead_letters_of(table, self._session) if table is not None else None

    def _waiting(self, wanted: "Wanted") -> Iterator[pa.Table]:
        letters = self.dead_letters()
        return iter(()) if letters is None else letters.pages(wanted)

    def _refuse_unknown(self, wanted: "Wanted") -> None:
        letters = self.dead_letters()
        unknown = list(wanted.ids or ()) if letters is None else letters.unknown(wanted.ids or ())
        if unknown:
            raise BadInput(
                f"There is no dead letter '{unknown[0]}'.",
                next_step="`bitlake dead-letters list` lists those that wait.",
            )

    def _datasets_waiting(self, wanted: "Wanted") -> list[str]:
        self._refuse_unknown(wanted)
        letters = self.dead_letters()
        names = letters.counts(wanted) if letters is not None else {}
        known = {dataset.name for dataset in self.config.datasets}
        for name in sorted(names.keys() - known):
            log.warning("its dead letters stay: no dataset of lake.yaml", extra={"dataset": name})
        return sorted(names.keys() & known)

    def trino_views(self, catalog: str) -> Iterator["View"]:
        """The views of every table for Trino, whose name for the Iceberg catalog is given."""
        from pipeline.views.trino import trino_views

        for schema in self.tables.values():
            with _explained():
                table = self._load(schema.identifier)
            if table is not None:
                yield from trino_views(table, catalog)
            else:
                log.warning("no views: there is no table yet", extra={"table": schema.identifier})

    @cached_property
    def tables(self) -> dict[str, TableSchema]:
        """The declared tables by what commands call them."""
        return {t.name: t for dataset in self.config.datasets for t in dataset_schema(dataset).tables}

    @cached_property
    def _catalog(self) -> "Catalog":
        from pipeline.sink.catalog import open_catalog

        return open_catalog(self.config.catalog)

    @cached_property
    def _stored(self) -> "Tables":
        from pipeline.query.catalog import Tables

        return Tables(self.config.catalog, lambda: self._catalog)

    @cached_property
    def _session(self) -> "Session":
        from pipeline.query.session import Session

        return Session()

    def _answers(self, name: str, *moments: Moment | None) -> "Answers":
        from pipeline.query.answers import Answers
        from pipeline.query.status import position_of

        with _explained():
            table = self._known(name)
            if given := [moment for moment in moments if moment is not None]:
                dataset = table.properties.get("bitlake.dataset", name)
                position = self._moved(dataset, [table], position_of(dataset, table))
                _warn_beyond(name, max(given, key=instant), position)
            return Answers(table, self._session)

    def _moved(
        self, dataset: str, tables: "Iterable[StoredTable | None]", position: "Position | None"
    ) -> "Position | None":
        """A dataset's position; where a Flink job wrote last, it is told in a table of its own."""
        from pipeline.query.status import flink_run

        run = next((run for table in tables if table and (run := flink_run(dataset, table))), None)
        if run is None or position is None:
            return position
        from pipeline.sink.lake_sink import LakeSink

        return LakeSink(self._catalog, self.config.dead_letters.table).flink_position(dataset, run, position)

    def _known(self, name: str) -> "StoredTable":
        schema = self.tables.get(name)
        if schema is None:
            raise BadInput(
                f"There is no dataset or child table '{name}' in this lake.",
                next_step=did_you_mean(name, list(self.tables)).capitalize(),
            )
        if (table := self._load(schema.identifier)) is None:
            dataset = name if name in {d.name for d in self.config.datasets} else name.partition("__")[0]
            raise BadInput(
                f"Nothing was ever loaded into '{name}': its table {schema.identifier} does not exist.",
                next_step=f"Load records: bitlake load {dataset} FILE",
            )
        return table

    def _load(self, identifier: str) -> "StoredTable | None":
        return self._stored.find(identifier)

    @staticmethod
    def _dead_letters_of(table: "StoredTable", session: "Session") -> "DeadLetters":
        from pipeline.query.dead_letters import DeadLetters

        return DeadLetters(table, session)


def _system(moment: Moment | None) -> int:
    return LATEST if moment is None else instant(moment)


def _warn_beyond(name: str, moment: Moment, position: "Position | None") -> None:
    from pipeline.query.finality import doubt

    system, latest = instant(moment), isinstance(moment, str) and moment.strip().lower() == "now"
    if why := doubt(position, system, instant("now"), latest=latest):
        told = {"horizon": spelled(position.horizon)} if position else {}
        log.warning(
            "the answer is not final: %s", why, extra={"table": name, "system": spelled(system), **told}
        )


@contextmanager
def _explained() -> Iterator[None]:
    from pipeline.query.trouble import explained

    with explained("the catalog"):
        yield
