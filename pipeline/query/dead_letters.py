"""The records that could not become changes, less those replayed since."""

from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.expressions import AlwaysTrue, BooleanExpression, EqualTo
from pyiceberg.table import Table

from pipeline.query.scan import plan
from pipeline.query.session import Session
from pipeline.query.shape import Field, quoted
from pipeline.sink.dead_letter_table import DEAD_LETTERS


@dataclass(frozen=True)
class Wanted:
    """Which dead letters: all conditions that are given hold; `ids` none means any."""

    dataset: str | None = None
    stage: str | None = None
    ids: tuple[str, ...] | None = None
    limit: int | None = None


class DeadLetters:
    """Asks the table of dead letters."""

    def __init__(self, table: Table, session: Session) -> None:
        self._table = table
        self._session = session
        known = {field.name: field for field in table.schema().fields}
        self.fields = tuple(Field.of(known[name]) for name in DEAD_LETTERS.names)

    def relation(self) -> str:
        """Every row as an SQL relation, those of replays too."""
        return plan(self._table, self.fields, AlwaysTrue()).relation(self._session)

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
        return rows.cast(pa.schema([pa.field(f.name, f.type) for f in DEAD_LETTERS]))

    def counts(self) -> dict[str, int]:
        """How many wait, per dataset."""
        rows = self._session.rows(
            f"{self._data(Wanted())} SELECT dataset, count(*) AS dead FROM waiting GROUP BY dataset"
        )
        return {row["dataset"]: row["dead"] for row in rows.to_pylist()}

    def _data(self, wanted: Wanted) -> str:
        everything: BooleanExpression = AlwaysTrue()
        row_filter = (
            EqualTo(term="dataset", value=wanted.dataset) if wanted.dataset is not None else everything
        )
        relation = plan(self._table, self.fields, row_filter).relation(self._session)
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
