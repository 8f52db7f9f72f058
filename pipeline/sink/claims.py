"""Taking a dataset to write it: the writer token raised in all its tables, and a lease for people to read."""

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from pyiceberg.table import Table

from pipeline.faults import reach
from pipeline.sink.commit import ClaimCommit
from pipeline.sink.lease import Lease, Tenant
from pipeline.sink.ledger import CLAIM, WRITER, highest_token

log = logging.getLogger(__name__)

Turn = Callable[[str], AbstractContextManager[bool]]


@dataclass(frozen=True)
class Claim:
    """A dataset that this process may write until another writer raises its token.

    Attributes:
        dataset: its name.
        first: the identifier of its first table, which has the lease.
        token: this writer's number.
        tenant: as whom it holds the lease.
    """

    dataset: str
    first: str
    token: int
    tenant: Tenant

    def renewal(self, identifier: str) -> Mapping[str, str]:
        """The properties that renew the lease, for the commit to a table."""
        return self.tenant.renewed(self.token).as_properties() if identifier == self.first else {}


def claim(
    dataset: str, tables: Mapping[str, Table], tenant: Tenant, turn: Turn, *, token: int | None = None
) -> Claim:
    """Raise a dataset's writer token in its tables, the first of them deciding about the number.

    From here on no earlier writer can commit to any of them. Who dies on the way has taken the dataset from
    an earlier writer, and written nothing.

    Args:
        dataset: its name.
        tables: by identifier, all that its writers commit to, the one with the lease first.
        tenant: who claims it.
        turn: to be held while a table is committed to.
        token: the number, if it was planned before; none but the next one can be.

    Raises:
        Fenced: another writer claims the dataset at the same time.
        Exception: one that `may_pass`, if the catalog did not answer.
    """
    first = next(iter(tables))
    writer = {WRITER: tenant.holder, CLAIM: uuid.uuid4().hex}
    wanted = token or next_token(dataset, tables.values())
    for identifier, table in tables.items():
        commit = ClaimCommit(
            table,
            dataset,
            wanted,
            writer,
            first=identifier == first and token is None,
            properties=(lambda n: tenant.renewed(n).as_properties()) if identifier == first else lambda _: {},
        )
        with turn(identifier):
            commit.run()
        wanted = commit.token
        reach("between-claims")
    log.debug("'%s': writer token %d", dataset, wanted)
    return Claim(dataset, first, wanted, tenant)


def next_token(dataset: str, tables: Iterable[Table]) -> int:
    """The number that the next writer of a dataset gets, as its tables are."""
    return max((highest_token(table.metadata, dataset) for table in tables), default=0) + 1


def end(table: Table, held: Claim) -> None:
    """End a claim's lease, unless another writer has it."""
    lease = Lease.of(table.properties)
    if lease is not None and (lease.owner, lease.token) == (held.tenant.owner, held.token):
        with table.transaction() as transaction:
            transaction.set_properties(lease.ended().as_properties())
