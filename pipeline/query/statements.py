"""The questions as SQL over a relation ``data`` with a table's whole rows.

Closed wins: where a version has an open row and a closed one, only the closed one counts. So a condition on
system_to comes after that; conditions on key, valid time and system_from hold for both twins and come before.
"""

from dataclasses import dataclass

from pipeline.query.instants import day_sql, us_sql
from pipeline.query.shape import Shape, quoted
from pipeline.schema import END_OF_TIME_DAY, END_OF_TIME_US

OPEN = f"system_to = {us_sql(END_OF_TIME_US)}"
CLOSED = f"system_to < {us_sql(END_OF_TIME_US)}"


@dataclass(frozen=True)
class Question:
    """What every statement needs to know.

    Attributes:
        shape: the table's columns.
        data: the relation of the table's rows.
        where: a condition on key columns.
    """

    shape: Shape
    data: str
    where: str = "TRUE"

    def source(self) -> str:
        """The common table expression that all statements begin with."""
        return f"WITH data AS NOT MATERIALIZED (SELECT * FROM ({self.data}) WHERE {self.where})"

    def valid_literal(self, valid: int) -> str:
        """A valid time of the table as a literal."""
        return day_sql(valid) if self.shape.dated else us_sql(valid)

    def answer(self, rows: str, *, provenance: bool, order: bool = True) -> str:
        """The columns of an answer, no end as null, in the order of answers."""
        no_end = {
            "valid_to": self.valid_literal(END_OF_TIME_DAY if self.shape.dated else END_OF_TIME_US),
            "system_to": us_sql(END_OF_TIME_US),
        }
        columns = ", ".join(
            f"nullif({f.name}, {no_end[f.name]}) AS {f.name}" if f.name in no_end else quoted(f.name)
            for f in self.shape.answer_fields(provenance=provenance)
        )
        return f"SELECT {columns} FROM ({rows})" + (f" ORDER BY {self.shape.version_sql}" if order else "")


def closed_wins(shape: Shape, condition: str = "TRUE") -> str:
    """All versions among the rows of `data` that the condition holds for, each once."""
    rows = f"SELECT * FROM data WHERE {condition}"
    return f"{rows} AND {CLOSED} UNION ALL {_without_twins(shape, rows)}"


def _without_twins(shape: Shape, rows: str) -> str:
    """The open ones of some rows that have no closed one among them.

    Not an anti join: into both sides of this one DuckDB takes a condition on the key that comes later, of
    someone who asks a view for one key.
    """
    names = (*(quoted(field.name) for field in shape.key), "system_from", "valid_from")
    same = " AND ".join(f"o.{name} = c.{name}" for name in names)
    return (
        f"SELECT o.* FROM ({rows} AND {OPEN}) o LEFT JOIN ({rows} AND {CLOSED}) c ON {same}"
        " WHERE c.system_to IS NULL"
    )


def history(question: Question) -> str:
    """Every version."""
    return f"{question.source()} {closed_wins(question.shape)}"


def timeline(question: Question, system: str) -> str:
    """The versions believed at a system time.

    Of closed rows those that ended later; of open rows those without a closed twin.
    """
    shape = question.shape
    begun = f"SELECT * FROM data WHERE system_from <= {system}"
    return (
        f"{question.source()} {begun} AND {CLOSED} AND system_to > {system} UNION ALL"
        f" {_without_twins(shape, begun)}"
    )


def asof(question: Question, valid: str, system: str) -> str:
    """The versions believed at a system time about a valid time: at most one per key.

    At one valid instant the versions of a key follow each other in system time. So the one with the greatest
    system_from is the only candidate; its closed row, if there is one, tells whether it still held. An inner
    join, for the reason that `_without_twins` is no anti join.
    """
    key = question.shape.key_sql
    then = (
        f"SELECT * FROM data WHERE valid_from <= {valid} AND valid_to > {valid} AND system_from <= {system}"
    )
    return (
        f"{question.source()},"
        f" newest AS (SELECT {key}, max(system_from) AS system_from FROM ({then}) GROUP BY {key}),"
        f" candidates AS (SELECT * FROM ({then}) JOIN newest USING ({key}, system_from))"
        f" SELECT * FROM (SELECT * FROM candidates"
        f" QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY system_to) = 1) WHERE system_to > {system}"
    )
