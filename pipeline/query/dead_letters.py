"""The records that could not become changes, less those replayed since."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.query.conditions import Condition
from pipeline.query.scan import plan
from pipeline.query.session import Session
from pipeline.query.shape import Field, quoted
from pipeline.query.stored import StoredTable
from pipeline.sink.dead_letter_table import DEAD_LETTERS

PAGE_BYTES = 256 << 20
_PLACE_NAMES = ("partition", "offset", "id")
_PLACE = ", ".join(quoted(name) for name in _PLACE_NAMES)
_ARROW = pa.schema([pa.field(field.name, field.type) for field in DEAD_LETTERS])


@dataclass(frozen=True)
class Wanted:
    """Which dead letters: all conditions that are given hold; `ids` none means any."""

    dataset: str | None = None
    stage: str | None = None
    ids: tuple[str, ...] | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Cause:
    """Why records are dead letters, what to do about it, and how many there are."""

    stage: str
    reason: str
    advice: str
    letters: int


class DeadLetters:
    """Asks the table of dead letters."""

    def __init__(self, table: StoredTable, session: Session) -> None:
        self._table = table
        self._session = session
        known = {field["name"]: field for field in table.fields}
        self.fields = tuple(Field.of(known[name]) for name in DEAD_LETTERS.names)

    def relation(self) -> str:
        """Every row as an SQL relation, those of replays too."""
        return plan(self._table, self.fields).relation(self._session)

    def waiting(self, wanted: Wanted | None = None) -> pa.Table:
        """Dead letters that were not replayed, the oldest first."""
        wanted = wanted or Wanted()
        conditions, parameters = _conditions(wanted)
        columns = ", ".join(quoted(name) for name in DEAD_LETTERS.names)
        limit = "" if wanted.limit is None else f" LIMIT {int(wanted.limit)}"
        rows = self._session.rows(
            f"{self._data(wanted)} SELECT {columns} FROM waiting WHERE {conditions}"
            f' ORDER BY system_time, dataset, topic, partition, "offset", id{limit}',
            parameters,
        )
        return rows.cast(_ARROW)

    def pages(self, wanted: Wanted, page_bytes: int = PAGE_BYTES) -> Iterator[pa.Table]:
        """Dead letters that were not replayed by partition and offset, as many at a time as memory takes."""
        conditions, parameters = _conditions(wanted)
        index = self._session.rows(
            f"{self._data(wanted)} SELECT {_PLACE}, octet_length(coalesce(value, ''::BLOB)) + 200 AS size"
            f" FROM waiting WHERE {conditions} ORDER BY {_PLACE}",
            parameters,
        )
        columns = ", ".join(quoted(name) for name in DEAD_LETTERS.names)
        starts = ", ".join(f"$first_{name}" for name in _PLACE_NAMES)
        for first, count in _pages(index["size"].to_pylist(), page_bytes):
            start = {f"first_{name}": index[name][first].as_py() for name in _PLACE_NAMES}
            rows = self._session.rows(
                f"{self._data(wanted)} SELECT {columns} FROM waiting WHERE {conditions}"
                f" AND ({_PLACE}) >= ({starts}) ORDER BY {_PLACE} LIMIT {count}",
                parameters | start,
            )
            yield rows.cast(_ARROW)

    def counts(self, wanted: Wanted | None = None) -> dict[str, int]:
        """How many wait, per dataset."""
        wanted = wanted or Wanted()
        conditions, parameters = _conditions(wanted)
        rows = self._session.rows(
            f"{self._data(wanted)} SELECT dataset, count(*) AS dead FROM waiting WHERE {conditions}"
            " GROUP BY dataset",
            parameters,
        )
        return {row["dataset"]: row["dead"] for row in rows.to_pylist()}

    def commonest(self, dataset: str, epoch: int) -> Cause:
        """What most of a dataset's dead letters since an epoch have in common; there must be some."""
        rows = self._session.rows(
            f"{self._data(Wanted(dataset))} SELECT stage,"
            " regexp_replace(reason, ', at byte [0-9]+$', '') AS why, any_value(advice) AS advice,"
            " count(*) AS letters FROM waiting"
            " WHERE dataset = $dataset AND epoch >= $epoch GROUP BY stage, why"
            " ORDER BY letters DESC, stage, why LIMIT 1",
            {"dataset": dataset, "epoch": epoch},
        )
        (row,) = rows.to_pylist()
        return Cause(row["stage"], row["why"], row["advice"], row["letters"])

    def unknown(self, ids: Sequence[str]) -> list[str]:
        """Those of some ids that no dead letter has, replayed or not."""
        if not ids:
            return []
        conditions, parameters = _conditions(Wanted(ids=tuple(ids)))
        rows = self._session.rows(
            f"{self._data(Wanted())} SELECT DISTINCT id FROM data WHERE {conditions}", parameters
        )
        known = set(rows["id"].to_pylist())
        return [letter for letter in ids if letter not in known]

    def _data(self, wanted: Wanted) -> str:
        conditions = () if wanted.dataset is None else (Condition("dataset", "=", wanted.dataset),)
        relation = plan(self._table, self.fields, conditions).relation(self._session)
        return (
            f"WITH data AS NOT MATERIALIZED ({relation}), waiting AS NOT MATERIALIZED ("
            "SELECT * FROM (SELECT * FROM data WHERE status = 'dead')"
            " ANTI JOIN (SELECT id FROM data WHERE status = 'replayed') USING (id))"
        )


def _conditions(wanted: Wanted) -> tuple[str, dict[str, object]]:
    conditions, parameters = ["TRUE"], dict[str, object]()
    for name, value in (("dataset", wanted.dataset), ("stage", wanted.stage)):
        if value is not None:
            conditions.append(f"{name} = $wanted_{name}")
            parameters[f"wanted_{name}"] = value
    if wanted.ids is not None:
        conditions.append("list_contains($wanted_ids, id)")
        parameters["wanted_ids"] = list(wanted.ids)
    return " AND ".join(conditions), parameters


def _pages(sizes: list[int], page_bytes: int) -> Iterator[tuple[int, int]]:
    """The first row of each page and how many it has; a row that is larger than a page is one."""
    first = filled = 0
    for row, size in enumerate(sizes):
        if row > first and filled + size > page_bytes:
            yield first, row - first
            first, filled = row, 0
        filled += size
    if sizes:
        yield first, len(sizes) - first
