"""Who writes a dataset, for people: a lease in a property of its first table, renewed by every epoch.

It tells a second writer, of either runtime, to stay away before it does any work. What keeps two writers
from both committing is the writer token (`pipeline.sink.commit`), not the lease.
"""

import json
import logging
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

from pipeline.errors import Refused
from pipeline.sink.holder import has_ended, this_process

log = logging.getLogger(__name__)

LEASE = "bitlake.lease"
"""Table property."""
SECONDS = 900.0
"""After so long without an epoch, another writer may take a dataset."""


class Leased(Refused):
    """Another writer has the dataset."""


@dataclass(frozen=True)
class Lease:
    """A writer's claim on a dataset.

    Attributes:
        owner: what tells writers apart; one that starts again with the same state is the same.
        holder: where it runs, for people.
        until: microseconds; afterwards anyone may take the dataset.
        process: as `this_process` names it; anyone may take the dataset, too, who sees that it has ended.
        token: the writer token that came with it.
        since: microseconds; when that writer began; 0: not known.
    """

    owner: str
    holder: str
    until: int
    process: str = ""
    token: int = 0
    since: int = 0

    @property
    def of_flink(self) -> bool:
        """Whether a Flink job has it that may still run."""
        return self.owner.startswith("flink-") and self.until > _now()

    @staticmethod
    def of(properties: Mapping[str, str]) -> "Lease | None":
        """The lease in a table's properties."""
        text = properties.get(LEASE)
        return Lease(**json.loads(text)) if text else None

    def ended(self) -> "Lease":
        """The same, given up."""
        return replace(self, until=0, process="")

    def as_properties(self) -> dict[str, str]:
        """The lease as a table carries it."""
        return {LEASE: json.dumps(asdict(self))}


@dataclass(frozen=True)
class Tenant:
    """A writer that holds a lease while it runs.

    Attributes:
        owner, holder: see `Lease`.
        seconds: how long each renewal holds.
        process: see `Lease`.
        since: microseconds; when it began.
    """

    owner: str
    holder: str
    seconds: float
    process: str = ""
    since: int = field(default_factory=lambda: time.time_ns() // 1000, compare=False)

    @staticmethod
    def here(owner: str, seconds: float) -> "Tenant":
        """This process."""
        return Tenant(owner, f"process {os.getpid()} on {socket.gethostname()}", seconds, this_process())

    def renewed(self, token: int) -> Lease:
        """A lease from now on, for the writer with a token."""
        until = _now() + int(self.seconds * 1e6)
        return Lease(self.owner, self.holder, until, self.process, token, self.since)


def check(dataset: str, properties: Mapping[str, str], owner: str) -> None:
    """Refuse to write a dataset that another writer has.

    Raises:
        Leased: its lease is not over.
    """
    lease = Lease.of(properties)
    if lease is None or lease.owner == owner or lease.until <= _now():
        return
    if has_ended(lease.process):
        log.warning("'%s': stale lease: %s is no longer running", dataset, lease.holder)
        return
    if lease.of_flink:
        held = "held"
        stop = "`bitlake submit --stop` stops it, and lets go of what one that has ended still holds; else"
    else:
        held, seconds = "being written", (lease.until - _now()) / 1e6
        stop = f"stop that one first; if it has died, its lease ends in {seconds:.0f} s; to go on at once"
    since = f" since {datetime.fromtimestamp(lease.since // 1_000_000, UTC):%F %T} UTC" if lease.since else ""
    raise Leased(
        f"'{dataset}' is {held} by {lease.holder}{since}",
        next_step=f"{stop}: --take-over",
    )


def _now() -> int:
    return time.time_ns() // 1000
