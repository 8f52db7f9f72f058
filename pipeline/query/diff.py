"""What changed in belief between two system times, as SQL."""

from pipeline.query.instants import us_sql
from pipeline.query.shape import Shape, quoted
from pipeline.query.statements import CLOSED, OPEN, Question
from pipeline.schema import END_OF_TIME_DAY, END_OF_TIME_US

_OWN = {"change", "old", "new"}


def diff(question: Question, before: int, after: int) -> str:
    """Net pieces of valid time in which the beliefs at `before` and at `after` differ, neighbours merged.

    Versions believed at both times can't differ. So only those count that went between the two times (their
    closed rows say so) and those that came; between the boundaries of both, each piece is in at most one of
    either kind.
    """
    shape = question.shape
    went, came = _went(shape, min(before, after), max(before, after)), _came(shape, *sorted((before, after)))
    old, new = (went, came) if before <= after else (came, went)
    key, key_of_rows, key_in_answer = _keys(shape)
    forever = question.valid_literal(END_OF_TIME_DAY if shape.dated else END_OF_TIME_US)
    return f"""{question.source()},
old_side AS ({old}), new_side AS ({new}),
edges AS (
  SELECT {key}, _edge, max(_old_from) AS _old_from, max(_new_from) AS _new_from FROM (
    SELECT {key_of_rows}, valid_from AS _edge, valid_from AS _old_from, NULL AS _new_from FROM old_side
    UNION ALL SELECT {key_of_rows}, valid_from, NULL, valid_from FROM new_side
    UNION ALL SELECT {key_of_rows}, valid_to, NULL, NULL FROM old_side
    UNION ALL SELECT {key_of_rows}, valid_to, NULL, NULL FROM new_side)
  GROUP BY {key}, _edge),
pieces AS (
  SELECT {key}, _edge AS valid_from, lead(_edge) OVER w AS valid_to, max(_old_from) OVER w AS _old_from,
    max(_new_from) OVER w AS _new_from FROM edges WINDOW w AS (PARTITION BY {key} ORDER BY _edge)
  QUALIFY lead(_edge) OVER w IS NOT NULL),
{_joined(shape, "with_old", "pieces", "old")},
{_joined(shape, "with_both", "with_old", "new")},
changes AS (
  SELECT *, CASE WHEN old IS NULL THEN 'added' WHEN new IS NULL THEN 'removed' ELSE 'changed' END AS change
  FROM with_both WHERE old IS DISTINCT FROM new),
starts AS (
  SELECT *, lag(valid_to) OVER w IS DISTINCT FROM valid_from OR lag(change) OVER w IS DISTINCT FROM change
    OR lag(old) OVER w IS DISTINCT FROM old OR lag(new) OVER w IS DISTINCT FROM new AS _starts
  FROM changes WINDOW w AS (PARTITION BY {key} ORDER BY valid_from)),
runs AS (
  SELECT *, sum(_starts::INT) OVER (PARTITION BY {key} ORDER BY valid_from) AS _run FROM starts)
SELECT {key_in_answer}, min(valid_from) AS valid_from, nullif(max(valid_to), {forever}) AS valid_to,
  any_value(change) AS change, any_value(old) AS old, any_value(new) AS new
FROM runs GROUP BY {key}, _run ORDER BY {key}, min(runs.valid_from)"""


def _went(shape: Shape, earlier: int, later: int) -> str:
    return (
        f"SELECT {_names(shape)}, valid_from, valid_to FROM data WHERE system_from <= {us_sql(earlier)}"
        f" AND {CLOSED} AND system_to > {us_sql(earlier)} AND system_to <= {us_sql(later)}"
    )


def _came(shape: Shape, earlier: int, later: int) -> str:
    between = f"system_from > {us_sql(earlier)} AND system_from <= {us_sql(later)}"
    names = f"{_names(shape)}, valid_from, valid_to"
    return (
        f"SELECT {names} FROM data WHERE {between} AND {CLOSED} AND system_to > {us_sql(later)} UNION ALL"
        f" SELECT {names} FROM (SELECT * FROM data WHERE {between} AND {OPEN})"
        f" ANTI JOIN (SELECT * FROM data WHERE {between} AND {CLOSED}) USING ({shape.version_sql})"
    )


def _keys(shape: Shape) -> tuple[str, str, str]:
    """The key columns under names of ours, since any name can be theirs; and from and to their own names."""
    ours = [(f"_key{i}", field.name) for i, field in enumerate(shape.key)]
    return (
        ", ".join(name for name, _ in ours),
        ", ".join(f"{quoted(own)} AS {name}" for name, own in ours),
        ", ".join(f"{name} AS {quoted(key_in_diff(own))}" for name, own in ours),
    )


def key_in_diff(name: str) -> str:
    """What a key column is called in a diff, which has columns of its own: ``change`` is ``key__change``."""
    return f"key__{name}" if name.lower() in _OWN else name


def _names(shape: Shape) -> str:
    return ", ".join(quoted(field.name) for field in shape.columns)


def _joined(shape: Shape, name: str, pieces: str, side: str) -> str:
    """The pieces with the values that one side has there: the segment that started last, if it reaches."""
    columns = ", ".join(f"{quoted(f.name)} := s.{quoted(f.name)}" for f in shape.columns)
    same_key = " AND ".join(f"p._key{i} = s.{quoted(f.name)}" for i, f in enumerate(shape.key))
    return (
        f"{name} AS ("
        f"SELECT p.*, CASE WHEN s.valid_to > p.valid_from THEN struct_pack({columns}) END AS {side}"
        f" FROM {pieces} p LEFT JOIN {side}_side s ON {same_key} AND p._{side}_from = s.valid_from)"
    )
