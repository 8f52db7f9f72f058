"""Who writes a dataset: a lease in a property of its first table, renewed by every epoch.

It tells a second writer, of either runtime, to stay away before it does any work. What keeps two writers
from both committing an epoch is the catalog's compare-and-swap, not the lease.
"""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pipeline.errors import Refused
from pipeline.sink.holder import has_ended

log = logging.getLogger(__name__)

LEASE = "bitlake.lease"
"""Table property."""


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
    """

    owner: str
    holder: str
    until: int
    process: str = ""

    @property
    def of_flink(self) -> bool:
        """Whether a Flink job has it that may still run."""
        return self.owner.startswith("flink-") and self.until > _now()

    @staticmethod
    def of(properties: Mapping[str, str]) -> "Lease | None":
        """The lease in a table's properties."""
        text = properties.get(LEASE)
        return Lease(**json.loads(text)) if text else None

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
    """

    owner: str
    holder: str
    seconds: float
    process: str = ""

    def renewed(self) -> Lease:
        """A lease from now on."""
        return Lease(self.owner, self.holder, _now() + int(self.seconds * 1e6), self.process)

    def ended(self) -> Lease:
        """A lease that is over."""
        return Lease(self.owner, self.holder, 0)


def check(dataset: str, properties: dict[str, str], owner: str) -> None:
    """Refuse to write a dataset that another writer has.

    Raises:
        Leased: its lease is not over.
    """
    lease = Lease.of(properties)
    if lease is None or lease.owner == owner or lease.until <= _now():
        return
    if has_ended(lease.process):
        log.warning("'%s': %s had it, and has ended without a word", dataset, lease.holder)
        return
    if lease.of_flink:
        held = "held"
        stop = "`bitlake submit --stop` stops it, and lets go of what one that has ended still holds; else"
    else:
        held, seconds = "being written", (lease.until - _now()) / 1e6
        stop = f"stop that one first; if it has died, its lease ends in {seconds:.0f} s; to go on at once"
    raise Leased(
        f"'{dataset}' is {held} by {lease.holder}",
        next_step=f"{stop}: --take-over of `bitlake run` or `bitlake submit`",
    )


def _now() -> int:
    return time.time_ns() // 1000
