"""Dismissing dead letters: one more row each, appended beside any number of writers.

A dismissal belongs to no epoch: its snapshot carries neither a dataset nor an epoch, so it moves nobody's
position. It commits only if the table is still as it was when the letters were looked at; else it looks
again. So no two dismissals of one letter are committed, nor one of a letter that was replayed before. Who
dies before the commit has dismissed nothing; who dies after it, everything.
"""

import getpass
import socket
import time
import uuid
from dataclasses import dataclass, replace

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from pipeline.errors import BadInput
from pipeline.query.dead_letters import LETTERS, DeadLetters, Wanted
from pipeline.query.instants import spelled
from pipeline.query.session import Session
from pipeline.query.stored import StoredTable
from pipeline.retries import repeat
from pipeline.sink.appending import append
from pipeline.sink.catalog import explained
from pipeline.sink.commit import persistent
from pipeline.sink.dead_letter_table import DEAD, DISMISSED, later_rows, repeated
from pipeline.sink.files import FileName, new_attempt, write_rows
from pipeline.sink.tables import open_dead_letters

DISMISSAL = "bitlake.dismissal"
"""Summary property of a dismissal's snapshot, by which its writer finds it after a lost answer."""
MOST_TOLD = 5
"""Ids that can't be dismissed which an error names."""
_NOT_BYTES = tuple(name for name in LETTERS.names if name not in ("key", "value"))


@dataclass(frozen=True)
class Dismissal:
    """One call of `Lake.dismiss_dead_letters`.

    Attributes:
        wanted: which letters, of those that wait. If there are ids, each must be one that waits.
        reason: why.
        by: who.
        at: when, in microseconds.
        mark: tells this dismissal from all others.
    """

    wanted: Wanted
    reason: str
    by: str | None
    at: int
    mark: str

    @classmethod
    def of(cls, wanted: Wanted, reason: str, by: str | None = None) -> "Dismissal":
        """One that is made now, by this process's user if nobody else is named.

        Raises:
            BadInput: no reason is given.
        """
        reason = _as_text(reason).strip()
        if not reason:
            raise BadInput("A dismissal needs a reason.", next_step="Say why: --reason TEXT.")
        at = time.time_ns() // 1000
        return cls(replace(wanted, status="dead"), reason, by or this_user(), at, uuid.uuid4().hex)

    def commit(self, catalog: Catalog, identifier: str, session: Session) -> int:
        """Dismiss all of the letters, or none; how many they are.

        Raises:
            BadInput: an id is not known, or was replayed or dismissed.
            Unavailable: the catalog or the warehouse does not answer; call again.
        """
        where = catalog.properties.get("uri", catalog.name)
        with explained(where):
            return repeat(persistent(), self._try, catalog, identifier, session)

    def _try(self, catalog: Catalog, identifier: str, session: Session) -> int:
        table = open_dead_letters(catalog, identifier)
        if (before := self._committed(table)) is not None:
            return before
        letters = DeadLetters(StoredTable.of(table), session)
        self._check(letters)
        rows = self._rows(letters.find(self.wanted, _NOT_BYTES))
        if len(rows):
            files = list(write_rows(table, [rows], FileName("dismissed", 0, new_attempt()), "dead"))
            append(table, files, {DISMISSAL: self.mark})
        return len(rows)

    def _committed(self, table: Table) -> int | None:
        """How many letters this dismissal has dismissed, if an earlier try did; its answer may be lost."""
        for snapshot in table.metadata.snapshots:
            told = snapshot.summary.additional_properties if snapshot.summary else {}
            if told.get(DISMISSAL) == self.mark:
                return int(told["added-records"])
        return None

    def _check(self, letters: DeadLetters) -> None:
        ids = self.wanted.ids
        if ids is None:
            return
        columns = ("id", "status", "status_at", "dismissed_reason", "dismissed_by")
        found = letters.find(Wanted(ids=ids, status=None), columns)
        instants = found["status_at"].cast(pa.int64()).to_pylist()
        known = {row["id"]: row | {"at": at} for row, at in zip(found.to_pylist(), instants, strict=True)}
        wrong = [why for letter in ids if (why := _why_not(letter, known.get(letter)))]
        if wrong:
            more = f" So it is of {len(wrong) - MOST_TOLD:,} more." if len(wrong) > MOST_TOLD else ""
            raise BadInput(
                " ".join(wrong[:MOST_TOLD]) + more,
                next_step="Nothing was dismissed. `bitlake dead-letters list` lists the letters that wait.",
            )

    def _rows(self, letters: pa.Table) -> pa.Table:
        told = {"dismissed_reason": self.reason, "dismissed_by": self.by}
        return later_rows(letters, repeated(len(letters), status=DISMISSED, system_time=self.at, **told))


def this_user() -> str | None:
    """The user and machine of this process, if they are known."""
    try:
        return _as_text(f"{getpass.getuser()}@{socket.gethostname()}")
    except (OSError, KeyError):  # a user id without a name
        return None


def _why_not(letter: str, known: dict[str, object] | None) -> str | None:
    if known is None:
        return f"There is no dead letter '{letter}'."
    if known["status"] == DEAD:
        return None
    at = spelled(int(str(known["at"])))
    if known["status"] != DISMISSED:
        return f"'{letter}' was replayed at {at}."
    by = f" by {known['dismissed_by']}" if known["dismissed_by"] else ""
    return f"'{letter}' was dismissed already, at {at}{by}: {known['dismissed_reason']}."


def _as_text(text: str) -> str:
    """Text that can be stored: what a command line or a name holds may not be UTF-8."""
    return text.encode("utf-8", "replace").decode()
