"""A table's answers to the four questions, as Arrow tables."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pyarrow as pa

from pipeline.query import diff as differences
from pipeline.query import statements
from pipeline.query.conditions import Condition
from pipeline.query.instants import us_sql
from pipeline.query.keys import KeyFilter
from pipeline.query.scan import plan
from pipeline.query.session import Session
from pipeline.query.shape import Shape
from pipeline.query.statements import Question
from pipeline.query.stored import StoredTable

Key = Mapping[str, Any]


class Answers:
    """Asks one table of versions; each question is answered from one snapshot.

    Args:
        table: the Iceberg table, as fresh as the answers shall be.
        session: the DuckDB to ask.
    """

    def __init__(self, table: StoredTable, session: Session) -> None:
        self.shape = Shape.of(table)
        self._table = table
        self._session = session

    def history(self, *, key: Key | None = None, provenance: bool = False) -> pa.Table:
        """All versions, ordered by key, system_from, valid_from."""
        keys = KeyFilter.of(self.shape, key)
        question = self._question(keys)
        return self._versions(question, statements.history(question), keys, provenance=provenance)

    def timeline(self, system: int, *, key: Key | None = None, provenance: bool = False) -> pa.Table:
        """The versions believed at a system time, in microseconds."""
        keys = KeyFilter.of(self.shape, key)
        question = self._question(keys, Condition("system_from", "<=", system))
        rows = statements.timeline(question, us_sql(system))
        return self._versions(question, rows, keys, provenance=provenance)

    def asof(self, valid: int, system: int, *, key: Key | None = None, provenance: bool = False) -> pa.Table:
        """The versions believed at a system time about a valid time: microseconds, or days of dates."""
        keys = KeyFilter.of(self.shape, key)
        question = self._question(
            keys,
            Condition("valid_from", "<=", valid),
            Condition("valid_to", ">", valid),
            Condition("system_from", "<=", system),
        )
        rows = statements.asof(question, question.valid_literal(valid), us_sql(system))
        return self._versions(question, rows, keys, provenance=provenance)

    def diff(self, before: int, after: int, *, key: Key | None = None) -> pa.Table:
        """Pieces of valid time in which the beliefs at two system times differ."""
        keys = KeyFilter.of(self.shape, key)
        question = self._question(keys, Condition("system_from", "<=", max(before, after)))
        rows = self._session.rows(differences.diff(question, before, after), keys.parameters)
        return _as(rows, self._diff_schema())

    def _question(self, keys: KeyFilter, *conditions: Condition) -> Question:
        planned = plan(self._table, self.shape.fields, (*keys.conditions, *conditions))
        return Question(self.shape, planned.relation(self._session), keys.sql)

    def _versions(self, question: Question, rows: str, keys: KeyFilter, *, provenance: bool) -> pa.Table:
        answer = self._session.rows(question.answer(rows, provenance=provenance), keys.parameters)
        return _as(answer, self.shape.arrow(provenance=provenance))

    def _diff_schema(self) -> pa.Schema:
        valid = self.shape.times[0].arrow
        values = pa.struct([pa.field(f.name, f.arrow) for f in self.shape.columns])
        fields = [pa.field(differences.key_in_diff(f.name), f.arrow) for f in self.shape.key]
        fields += [
            pa.field("valid_from", valid),
            pa.field("valid_to", valid),
            pa.field("change", pa.string()),
        ]
        return pa.schema([*fields, pa.field("old", values), pa.field("new", values)])


def _as(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    rows = rows.combine_chunks()
    columns = [_cast(_array(column), field.type) for column, field in zip(rows.columns, schema, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema)


def _array(column: pa.ChunkedArray) -> pa.Array:
    return (
        column.chunk(0)
        if column.num_chunks == 1
        else pa.concat_arrays(column.chunks or [pa.array([], column.type)])
    )


def _cast(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """An array of DuckDB in the type of the answer: its UUIDs are text, also in structs."""
    if array.type == wanted:
        return array
    if isinstance(wanted, pa.UuidType):
        raw = [UUID(text).bytes if text is not None else None for text in array.to_pylist()]
        return pa.ExtensionArray.from_storage(wanted, pa.array(raw, pa.binary(16)))
    if pa.types.is_struct(wanted):
        parts = [_cast(array.field(i), field.type) for i, field in enumerate(wanted)]
        return pa.StructArray.from_arrays(parts, fields=list(wanted), mask=array.is_null())
    return array.cast(wanted)
