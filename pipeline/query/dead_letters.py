"""The records that could not become changes, and what became of them since."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa

from pipeline.query.conditions import Condition
from pipeline.query.scan import plan
from pipeline.query.session import Session
from pipeline.query.shape import Field, quoted
from pipeline.query.stored import StoredTable
from pipeline.schema import INSTANT
from pipeline.sink.dead_letter_table import ADDED, DEAD, DEAD_LETTERS, DISMISSED, REFUSED, REPLAYED

PAGE_BYTES = 256 << 20
Status = Literal["dead", "replayed", "dismissed"]
STATUSES: tuple[Status, ...] = ("dead", "replayed", "dismissed")
"""Of letters: one that a replay refused again is ``dead`` still."""

LETTERS = pa.schema(
    [
        *(pa.field(field.name, field.type) for field in DEAD_LETTERS),
        pa.field("status_at", INSTANT),
        pa.field("tries", pa.int64()),
        pa.field("last_try", INSTANT),
    ]
)
"""A letter in answers: its first row of the table, with what later rows tell.

``status`` is the letter's; ``status_at`` is when it was replayed or dismissed, null for ``dead``. ``stage``,
``reason`` and ``advice`` are those of the last replay that refused it; ``last_try`` is when that was, null
if none did. ``tries`` counts its first refusal and those of replays.
"""

_PLACE_NAMES = ("partition", "offset", "id")
_PLACE = ", ".join(quoted(name) for name in _PLACE_NAMES)
_ROW = pa.schema([pa.field(field.name, field.type) for field in DEAD_LETTERS])
_WHY = "regexp_replace(reason, ', at byte [0-9]+$', '')"
_VALUES = (r'"([^"\\]|\\.)*"', r"\b[0-9][0-9.:TZ+-]*\b")
"""What differs among reasons of one kind: quoted values, and numbers and times."""
_LETTERS = f"""
WITH data AS NOT MATERIALIZED (%s), later AS (
  SELECT id,
    max_by({{stage: stage, reason: reason, advice: advice, moment: system_time}}, epoch)
      FILTER (WHERE status = '{REFUSED}') AS refused,
    count(*) FILTER (WHERE status = '{REFUSED}') AS refusals,
    min(system_time) FILTER (WHERE status = '{REPLAYED}') AS replayed,
    min_by({{reason: dismissed_reason, who: dismissed_by, moment: system_time}}, system_time)
      FILTER (WHERE status = '{DISMISSED}') AS dismissed
  FROM data WHERE status <> '{DEAD}' GROUP BY id
), letters AS (
  SELECT first.* REPLACE (
      CASE WHEN refused IS NULL THEN stage ELSE refused.stage END AS stage,
      CASE WHEN refused IS NULL THEN reason ELSE refused.reason END AS reason,
      CASE WHEN refused IS NULL THEN advice ELSE refused.advice END AS advice,
      CASE WHEN replayed IS NOT NULL THEN '{REPLAYED}' WHEN dismissed IS NOT NULL THEN '{DISMISSED}'
        ELSE '{DEAD}' END AS status,
      CASE WHEN replayed IS NULL THEN dismissed.reason END AS dismissed_reason,
      CASE WHEN replayed IS NULL THEN dismissed.who END AS dismissed_by
    ),
    coalesce(replayed, dismissed.moment) AS status_at,
    1 + coalesce(refusals, 0) AS tries,
    refused.moment AS last_try
  FROM (SELECT * FROM data WHERE status = '{DEAD}') AS first LEFT JOIN later USING (id)
)"""
"""A letter that was dismissed while a replay was applying it is replayed: its rows are in the tables."""


@dataclass(frozen=True)
class Wanted:
    """Which dead letters: all conditions that are given hold; `ids` none means any.

    Attributes:
        file: as dead letters have it, or the end of it after a slash.
        status: None: any; by default those that wait.
    """

    dataset: str | None = None
    stage: str | None = None
    ids: tuple[str, ...] | None = None
    limit: int | None = None
    file: str | None = None
    status: Status | None = "dead"


@dataclass(frozen=True)
class Cause:
    """Why records of a dataset are dead letters, what to do about it, and how many there are.

    `reason` has "…" in place of places and values that differ among them.
    """

    dataset: str
    stage: str
    reason: str
    advice: str | None
    letters: int


class DeadLetters:
    """Asks the table of dead letters."""

    def __init__(self, table: StoredTable, session: Session) -> None:
        self._table = table
        self._session = session
        known = {field["name"]: field for field in table.fields}
        self._missing = tuple(name for name in ADDED if name not in known)
        self.fields = tuple(Field.of(known[name]) for name in DEAD_LETTERS.names if name in known)

    def relation(self, conditions: Sequence[Condition] = ()) -> str:
        """Every row as an SQL relation, later rows of letters too; columns that the table lacks are null."""
        rows = plan(self._table, self.fields, conditions).relation(self._session)
        if not self._missing:
            return rows
        nulls = {name: f"CAST(NULL AS {_duckdb(name)}) AS {name}" for name in self._missing}
        columns = ", ".join(nulls.get(name, quoted(name)) for name in DEAD_LETTERS.names)
        return f"SELECT {columns} FROM ({rows})"

    def find(self, wanted: Wanted | None = None, columns: Sequence[str] = LETTERS.names) -> pa.Table:
        """Letters, the oldest first, in columns of `LETTERS`."""
        wanted = wanted or Wanted()
        conditions, parameters = _conditions(wanted)
        limit = "" if wanted.limit is None else f" LIMIT {int(wanted.limit)}"
        rows = self._session.rows(
            f"{self._letters(wanted)} SELECT {_listed(columns)} FROM letters WHERE {conditions}"
            f' ORDER BY system_time, dataset, topic, partition, "offset", id{limit}',
            parameters,
        )
        return rows.cast(pa.schema([LETTERS.field(name) for name in columns]))

    def waiting(self, wanted: Wanted | None = None) -> pa.Table:
        """Letters that were neither replayed nor dismissed, the oldest first, as `LETTERS`."""
        return self.find(replace(wanted or Wanted(), status="dead"))

    def pages(self, wanted: Wanted, page_bytes: int = PAGE_BYTES) -> Iterator[pa.Table]:
        """Letters by partition and offset, rows of the table, as many at a time as memory takes."""
        conditions, parameters = _conditions(wanted)
        index = self._session.rows(
            f"{self._letters(wanted)} SELECT {_PLACE}, octet_length(coalesce(value, ''::BLOB)) + 200 AS size"
            f" FROM letters WHERE {conditions} ORDER BY {_PLACE}",
            parameters,
        )
        starts = ", ".join(f"$first_{name}" for name in _PLACE_NAMES)
        for first, count in _pages(index["size"].to_pylist(), page_bytes):
            start = {f"first_{name}": index[name][first].as_py() for name in _PLACE_NAMES}
            rows = self._session.rows(
                f"{self._letters(wanted)} SELECT {_listed(_ROW.names)} FROM letters WHERE {conditions}"
                f" AND ({_PLACE}) >= ({starts}) ORDER BY {_PLACE} LIMIT {count}",
                parameters | start,
            )
            yield rows.cast(_ROW)

    def counts(self, wanted: Wanted | None = None) -> dict[str, int]:
        """How many there are, per dataset."""
        wanted = wanted or Wanted()
        conditions, parameters = _conditions(wanted)
        rows = self._session.rows(
            f"{self._letters(wanted)} SELECT dataset, count(*) AS dead FROM letters WHERE {conditions}"
            " GROUP BY dataset",
            parameters,
        )
        return {row["dataset"]: row["dead"] for row in rows.to_pylist()}

    def causes(self, wanted: Wanted | None = None, *, since: int = 0) -> list[Cause]:
        """Why letters of epochs from `since` on are dead, by dataset, the most common first."""
        wanted = wanted or Wanted()
        conditions, parameters = _conditions(wanted)
        kind = "why"
        for number in range(len(_VALUES)):
            kind = f"regexp_replace({kind}, $value_{number}, '…', 'g')"
        rows = self._session.rows(
            f"{self._letters(wanted)}, reasons AS (SELECT *, {_WHY} AS why, {kind} AS kind FROM letters"
            f" WHERE {conditions} AND epoch >= $since)"
            " SELECT dataset, stage, CASE WHEN min(why) = max(why) THEN min(why) ELSE kind END AS reason,"
            " min(advice) AS advice, count(*) AS letters FROM reasons GROUP BY dataset, stage, kind"
            " ORDER BY dataset, letters DESC, stage, reason",
            parameters | {"since": since} | {f"value_{n}": value for n, value in enumerate(_VALUES)},
        )
        return [Cause(**row) for row in rows.to_pylist()]

    def unknown(self, ids: Sequence[str]) -> list[str]:
        """Those of some ids that no dead letter has, whatever became of it."""
        if not ids:
            return []
        known = set(self.find(Wanted(ids=tuple(ids), status=None), ("id",))["id"].to_pylist())
        return [letter for letter in ids if letter not in known]

    def _letters(self, wanted: Wanted) -> str:
        conditions = () if wanted.dataset is None else (Condition("dataset", "=", wanted.dataset),)
        return _LETTERS % self.relation(conditions)


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(quoted(name) for name in columns)


def _duckdb(name: str) -> str:
    return "BIGINT" if pa.types.is_integer(DEAD_LETTERS.field(name).type) else "VARCHAR"


def _conditions(wanted: Wanted) -> tuple[str, dict[str, object]]:
    conditions, parameters = ["TRUE"], dict[str, object]()
    for name in ("dataset", "stage", "status"):
        if (value := getattr(wanted, name)) is not None:
            conditions.append(f"{name} = $wanted_{name}")
            parameters[f"wanted_{name}"] = value
    if wanted.file is not None:
        conditions.append("(file = $wanted_file OR ends_with(file, '/' || $wanted_file))")
        parameters["wanted_file"] = wanted.file
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
