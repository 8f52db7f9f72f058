"""Committing an epoch's files to one table, once: step 3 of the commit protocol in design.md."""

import logging
from collections.abc import Callable
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import AssertTableUUID, SetPropertiesUpdate
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from pipeline.errors import Refused
from pipeline.retries import repeat
from pipeline.sink.catalog import may_pass
from pipeline.sink.epoch import EPOCH, WRITE, newest_summary

log = logging.getLogger(__name__)

ATTEMPTS = 20
"""Tries before a commit gives up; with the waits between them some 15 seconds."""

Files = Callable[[Table], tuple[list[DataFile], list[DataFile]]]
"""Gives a snapshot's added and removed files, planned against the table as it is now."""


class Replaced(Refused):
    """Another table has taken the name of the one at hand."""


class EpochCommit:
    """One epoch's commit to one table."""

    def __init__(
        self, table: Table, dataset: str, summary: dict[str, str], files: Files, properties: dict[str, str]
    ) -> None:
        self._table = table
        self._properties = properties
        self._dataset = dataset
        self._summary = summary
        self._files = files

    def run(self) -> bool:
        """Commit, unless the table has the epoch already.

        A conflict, or an outcome that is not known, reloads the table and looks for the epoch before the
        next try. A late arrival of a request thought lost does no harm: both assert the same parent
        snapshot, so only one of them can land.

        Returns:
            Whether this call committed; False if the epoch was there.

        Raises:
            Refused: the table holds this epoch, or a later one, from another writer.
            Replaced: someone dropped the table and created another of its name.
            Exception: one that `may_pass`, if the catalog did not answer, or others kept winning, every time.
        """
        retrying = persistent().copy(before_sleep=self._log)
        return repeat(retrying, self._try, _Once(self._table))

    @property
    def _name(self) -> str:
        return ".".join(self._table.name())

    def _try(self, reload: "_Once") -> bool:
        reload.after_the_first_time()
        if self._is_there():
            return False
        updates, requirements, producer = self._prepare()
        try:
            self._table._do_commit(updates, requirements)
        except CommitFailedException:
            producer._clean_all_uncommitted()
            raise
        return True

    def _is_there(self) -> bool:
        found = newest_summary(self._table.metadata, self._dataset)
        epoch = int(self._summary[EPOCH])
        if found is None or int(found[EPOCH]) < epoch:
            return False
        if found.get(WRITE) == self._summary[WRITE]:
            return True
        raise Refused(
            f"{self._name} already holds epoch {found[EPOCH]} of '{self._dataset}' from another writer;"
            f" epoch {epoch} of this one was not committed",
            next_step="stop the other process that writes this dataset, then start this one again:"
            " it goes on from what the tables hold",
        )

    def _prepare(self) -> tuple[Any, Any, Any]:
        """The updates and requirements of the new snapshot, its manifests written.

        pyiceberg's own transaction would retry a conflict without looking for the epoch first.
        """
        added, removed = self._files(self._table)
        transaction = _Draft(self._table)
        update = transaction.update_snapshot(snapshot_properties=self._summary)
        producer = update.overwrite() if removed else update.merge_append()
        for file in added:
            producer.append_data_file(file)
        for file in removed:
            producer.delete_data_file(file)
        updates, requirements = producer._commit()
        if self._properties:
            updates = (*updates, SetPropertiesUpdate(updates=self._properties))
        return updates, (*requirements, AssertTableUUID(uuid=self._table.metadata.table_uuid)), producer

    def _log(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning("commit to %s, try %d: %s", self._name, state.attempt_number, error)


def persistent() -> Retrying:
    """Tries again what others keep from being committed, or what the catalog does not answer to."""
    return Retrying(
        retry=retry_if_exception(may_pass),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.02, max=2),
        reraise=True,
    )


def overtake(catalog: Catalog, identifier: str) -> None:
    """Have commits to a table that others have begun conflict, and be checked again: by an empty snapshot.

    A property of the table would not do: REST catalogs compare no more than the snapshot.

    Raises:
        Exception: one that `may_pass`, if the catalog did not answer, or others kept winning, every time.
    """

    def once() -> None:
        table = catalog.load_table(identifier)
        with table.transaction() as transaction, transaction.update_snapshot().fast_append():
            pass

    repeat(persistent(), once)


class _Draft(Transaction):
    """A transaction that only drafts a snapshot, and so can read the table's metadata without copying it.

    pyiceberg copies all of it, every old snapshot included, at each of the dozen looks a commit takes.
    """

    @property
    def table_metadata(self) -> TableMetadata:
        return self._table.metadata


class _Once:
    """Reloads a table at every try but the first: the table at hand is as the last commit left it."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._fresh = True

    def after_the_first_time(self) -> None:
        if not self._fresh:
            self._refresh()
        self._fresh = False

    def _refresh(self) -> None:
        try:
            self._table.refresh()
        except ValueError as error:  # what pyiceberg raises when the table's UUID is another one
            raise Replaced(
                f"{'.'.join(self._table.name())} is another table than was opened: {error}",
                next_step="stop what replaces it; if that was meant, remove the state and load the data anew",
            ) from error
