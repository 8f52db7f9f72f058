"""Committing to one table, once and by its writer: step 3 of the commit protocol in design.md.

Whether a commit may be made is seen in the metadata that its compare-and-swap is based on: an epoch follows
its own predecessor, under its writer's token (`pipeline.sink.ledger`). SlateDB fences its writers so, too.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.update import AssertTableUUID, SetPropertiesUpdate, SetSnapshotRefUpdate
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
from pipeline.sink.epoch import DATASET, EPOCH, FLINK, WRITE
from pipeline.sink.ledger import (
    CLAIM,
    TOKEN,
    WRITER,
    highest_token,
    newest_summary,
    tag_of,
    writer_of,
    writer_token,
)

log = logging.getLogger(__name__)

ATTEMPTS = 20
"""Tries before a commit gives up; with the waits between them some 15 seconds."""

Files = Callable[[Table], tuple[list[DataFile], list[DataFile]]]
"""Gives a snapshot's added and removed files, planned against the table as it is now."""


class Replaced(Refused):
    """Another table has taken the name of the one at hand."""


class Fenced(Refused):
    """Another writer has taken the dataset since; nothing more of this one is committed.

    Attributes:
        dataset: its name.
        token, theirs: this writer's token and the one in the table.
    """

    def __init__(self, dataset: str, table: str, token: int, theirs: int, writer: str) -> None:
        super().__init__(
            f"'{dataset}' was taken over by {writer}: {table} has the writer token {theirs}, this process has"
            f" {token or 'none'}, and commits nothing more",
            next_step="stop one of the two; a writer that starts again goes on from what the tables hold",
        )
        self.dataset, self.token, self.theirs = dataset, token, theirs


class SnapshotCommit:
    """One snapshot for one table: tried again after a conflict or an unknown outcome, never made twice.

    A late arrival of a request thought lost does no harm: both assert the same parent snapshot, so only one
    of them can land.

    Args:
        table: as it was when it was last seen.
        dataset: whose snapshot it is; its tag is moved along.
        properties: of the table, set with it.
    """

    def __init__(self, table: Table, dataset: str, properties: Mapping[str, str]) -> None:
        self._table, self._dataset, self._properties = table, dataset, dict(properties)

    def run(self) -> bool:
        """Commit, unless the table has the snapshot already.

        Returns:
            Whether this call committed; False if it was there.

        Raises:
            Fenced: another writer has taken the dataset.
            Refused: the table does not hold the predecessor.
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
        added, removed = self._files()
        updates, requirements, producer = self._draft(self._summary(), added, removed)
        try:
            self._table._do_commit(updates, requirements)
        except CommitFailedException:
            producer._clean_all_uncommitted()
            raise
        return True

    def _is_there(self) -> bool:
        """Whether the table has this snapshot already; else it may be made, or an error says why not."""
        raise NotImplementedError

    def _summary(self) -> dict[str, str]:
        """What the snapshot says, as the table is now."""
        raise NotImplementedError

    def _files(self) -> tuple[list[DataFile], list[DataFile]]:
        """Files to add and to remove, as the table is now."""
        return [], []

    def _draft(self, summary: dict[str, str], added: list[DataFile], removed: list[DataFile]) -> Any:
        """The updates and requirements of the new snapshot, its manifests written.

        pyiceberg's own transaction would retry a conflict without looking at the table first.
        """
        update = _Draft(self._table).update_snapshot(snapshot_properties=summary)
        producer = update.overwrite() if removed else update.merge_append() if added else update.fast_append()
        for file in added:
            producer.append_data_file(file)
        for file in removed:
            producer.delete_data_file(file)
        updates, requirements = producer._commit()
        tag = SetSnapshotRefUpdate(
            ref_name=tag_of(self._dataset),
            type=SnapshotRefType.TAG,
            snapshot_id=producer.snapshot_id,
            max_ref_age_ms=None,
            max_snapshot_age_ms=None,
            min_snapshots_to_keep=None,
        )
        updates = (*updates, tag)
        if self._properties:
            updates = (*updates, SetPropertiesUpdate(updates=self._properties))
        return updates, (*requirements, AssertTableUUID(uuid=self._table.metadata.table_uuid)), producer

    def _log(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning("commit to %s, try %d: %s", self._name, state.attempt_number, error)


class EpochCommit(SnapshotCommit):
    """One epoch's commit to one table.

    Args:
        summary: what every table's snapshot of the epoch says.
        files: of the epoch.
        token, writer: the writer's number, and who it is, for people; 0: it has claimed nothing.
        shared: many datasets' writers commit to the table, and not in every epoch of theirs.
    """

    def __init__(
        self,
        table: Table,
        dataset: str,
        summary: dict[str, str],
        files: Files,
        *,
        token: int = 0,
        writer: str = "",
        shared: bool = False,
        properties: Mapping[str, str] = {},
    ) -> None:
        super().__init__(table, dataset, properties)
        told = {TOKEN: str(token), WRITER: writer} if token else {}
        self._epoch, self._all_files, self._token, self._shared = summary | told, files, token, shared

    def _summary(self) -> dict[str, str]:
        return self._epoch

    def _files(self) -> tuple[list[DataFile], list[DataFile]]:
        return self._all_files(self._table)

    def _is_there(self) -> bool:
        metadata, epoch = self._table.metadata, int(self._epoch[EPOCH])
        found = newest_summary(metadata, self._dataset)
        if found is not None and (found[EPOCH], found.get(WRITE)) == (str(epoch), self._epoch[WRITE]):
            return True
        token = writer_token(metadata, self._dataset)
        if token != self._token and (token > self._token or not self._shared):
            writer = writer_of(metadata, self._dataset)
            raise Fenced(self._dataset, self._name, self._token, token, writer)
        before = None if found is None else int(found[EPOCH])
        if before is None or before == epoch - 1 or (self._shared and before < epoch):
            return False
        found_there = (
            f"already holds epoch {before} of '{self._dataset}' from another writer"
            if before >= epoch
            else f"was rolled back to epoch {before} of '{self._dataset}'"
        )
        raise Refused(
            f"{self._name} {found_there}; epoch {epoch} of this one was not committed",
            next_step="stop the other process that writes this dataset, then start this one again:"
            " it goes on from what the tables hold",
        )


class ClaimCommit(SnapshotCommit):
    """Raises a dataset's writer token in one table, by an empty snapshot that says the position again.

    Whatever an earlier writer has on its way to the table conflicts with it, and is refused when it is tried
    again. A property of the table would not do: REST catalogs compare no more than the snapshot.

    Args:
        token: the number; where the table has it already, or a higher one, another writer has the dataset.
        writer: who this is, for people.
        claim: names this claim, in all tables.
        first: the table decides which number it is: at least `token`, and higher than any that it has.

    Attributes:
        token: the number that the table has now.
    """

    def __init__(
        self,
        table: Table,
        dataset: str,
        token: int,
        writer: Mapping[str, str],
        *,
        first: bool = False,
        properties: Callable[[int], Mapping[str, str]] = lambda _: {},
    ) -> None:
        super().__init__(table, dataset, {})
        self.token, self._writer, self._first, self._of_token = token, dict(writer), first, properties

    def _is_there(self) -> bool:
        metadata = self._table.metadata
        token = writer_token(metadata, self._dataset)
        if token == self.token and self._claim_found(token):
            return True
        if self._first:
            self.token = max(self.token, highest_token(metadata, self._dataset) + 1)
        elif token >= self.token:
            raise Fenced(self._dataset, self._name, self.token, token, writer_of(metadata, self._dataset))
        self._properties = dict(self._of_token(self.token))
        return False

    def _claim_found(self, token: int) -> bool:
        return any(
            summary.get(CLAIM) == self._writer[CLAIM] and summary.get(TOKEN) == str(token)
            for snapshot in self._table.metadata.snapshots
            if snapshot.summary is not None and (summary := snapshot.summary.additional_properties)
        )

    def _summary(self) -> dict[str, str]:
        found = newest_summary(self._table.metadata, self._dataset) or {}
        # Where a Flink job's sinks are can't be said by one snapshot: their own stay, each with its tag.
        told = (
            {}
            if FLINK in found
            else {name: value for name, value in found.items() if name.startswith("bitlake.")}
        )
        return {**told, DATASET: self._dataset, TOKEN: str(self.token), **self._writer}


def persistent() -> Retrying:
    """Tries again what others keep from being committed, or what the catalog does not answer to."""
    return Retrying(
        retry=retry_if_exception(may_pass),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.02, max=2),
        reraise=True,
    )


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
