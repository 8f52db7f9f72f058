"""Which fields are the key."""

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.infer import names
from pipeline.infer.fields import MISSING, Field, Path, Table
from pipeline.infer.sample import Sample
from pipeline.infer.types import guess

_ENOUGH = 0.99
_MOST = 0.8
_REPEATS = 0.3
_NAMED = 3
_KEY_OBJECTS = {"key", "keys", "id", "pk", "identifier"}
_MOST_MEMBERS = 6


@dataclass(frozen=True)
class Key:
    """The fields of a record that name what it is about.

    Attributes:
        fields: none if nothing can.
        why: what speaks for them.
        notes: what a person should know.
    """

    fields: list[Field]
    why: str
    notes: tuple[str, ...] = ()


def choose_key(table: Table, sample: Sample, apart: set[Path], start: Field | None) -> Key:
    """The key: what the envelopes' keys name, where they have some; else what looks like one.

    Args:
        table: the records.
        sample: of them.
        apart: paths that have another part.
        start: valid_from: a key should have few records with one start, more only for corrections.
    """
    if sample.keys:
        named = _of_envelopes(table, sample.keys)
        if named:
            return Key(named, f"the envelopes' key; {_why(named, table.rows)}")
    fields, why = _guessed(table, apart, start)
    return Key(fields, why, _differing(sample.keys, fields))


def _of_envelopes(table: Table, keys: list[Any]) -> list[Field]:
    """The fields whose values the envelopes' keys are, in nearly all records; constant ones, too."""
    if all(isinstance(key, dict) for key in keys if key is not None):
        members = list(dict.fromkeys(name for key in keys if key for name in key))
        found = [_named_by(table, name, [(key or {}).get(name) for key in keys]) for name in members]
        return [field for field in found if field] if found and all(found) else []
    found = [_equal_to(table, keys)]
    return [field for field in found if field]


def _named_by(table: Table, name: str, values: list[Any]) -> Field | None:
    """The field that a member of the envelopes' keys names, if it has the same values."""
    fitting = [
        field
        for field in table.fields.values()
        if name in (".".join(field.path), "__".join(field.path), field.path[-1]) and _agree(field, values)
    ]
    return min(fitting, key=lambda field: len(field.path), default=None)


def _equal_to(table: Table, keys: list[Any]) -> Field | None:
    fitting = [field for field in table.fields.values() if _agree(field, keys)]
    return max(fitting, key=lambda f: (names.key_score(f.path), -len(f.path)), default=None)


def _agree(field: Field, values: list[Any]) -> bool:
    """Whether a field has the same scalars: 1 and "1" are the same key."""
    if not field.kinds <= {str, int}:
        return False
    equal = sum(
        _scalar(a) is not None and _scalar(a) == _scalar(b) for a, b in zip(field.values, values, strict=True)
    )
    return equal >= _ENOUGH * len(values)


def _scalar(value: Any) -> str | None:
    return str(value) if type(value) in (str, int) else None


def _differing(keys: list[Any], fields: list[Field]) -> tuple[str, ...]:
    """A note where the envelopes' key is no field of the records."""
    if not keys:
        return ()
    count = sum(key is not None for key in keys)
    example = json.dumps(next(key for key in keys if key is not None), default=str, ensure_ascii=False)[:60]
    path = " and ".join(".".join(field.path) for field in fields) or "none was found"
    return (
        f"the envelopes' key (in {count:,}, such as {example}) is not the key of the records here ({path}):",
        "an envelope without a value ends what its own key names, so it would end none of these",
    )


def _guessed(table: Table, apart: set[Path], start: Field | None) -> tuple[list[Field], str]:
    free = [field for field in table.fields.values() if field.path not in apart]
    candidates = [field for field in free if _can_be_key(field, _ENOUGH)]
    if not any(names.key_score(field.path) >= _NAMED for field in candidates):
        candidates += _fullest(free)
    if not candidates:
        return [], "no field has text or an integer in every record"
    first = max(candidates, key=lambda field: (_score(field, table.rows), -len(field.path)))
    key = [first, *_beside(first, candidates)]
    if start is not None:
        _extend(key, candidates, start)
    return key, _why(key, table.rows)


def _beside(first: Field, candidates: list[Field]) -> list[Field]:
    """Members of the same object that name the thing with it, as a venue does beside an ISIN."""
    if len(first.path) < 2:
        return []
    beside = [f for f in candidates if f is not first and f.path[:-1] == first.path[:-1]]
    if first.path[-2].lower() in _KEY_OBJECTS and len(beside) < _MOST_MEMBERS:
        return beside
    key = [first]
    for field in beside:
        named = names.key_score(field.path[-1:]) >= 1 and "name" not in names.words(field.path[-1:])
        if named and _repeats([*key, field]) < _repeats(key):
            key.append(field)
    return key[1:]


def _can_be_key(field: Field, enough: float) -> bool:
    return (
        len(field.present) >= enough * len(field.values)
        and field.kinds <= {str, int}
        and len(field.kinds) == 1
    )


def _fullest(fields: list[Field]) -> list[Field]:
    """Where no key is in every record, as in a short sample with a broken one: those in most records."""
    possible = [field for field in fields if _can_be_key(field, _MOST)]
    named = [field for field in possible if names.key_score(field.path) >= _NAMED]
    most = max((len(field.present) for field in named), default=0)
    return [field for field in named if len(field.present) == most]


def _score(field: Field, rows: int) -> float:
    score = float(names.key_score(field.path))
    if rows >= 10:
        if field.distinct == 1:
            score -= 4
        elif field.distinct < rows:
            score += 2  # its records come again: a key has a history
    if field.kinds == {int} and score < 3:
        score -= 3
    if field.kinds == {str} and max(map(len, field.present)) > 64:
        score -= 4
    return score


def _extend(key: list[Field], candidates: list[Field], start: Field) -> None:
    """Add fields while too many records would have the same key and the same valid_from."""
    others = [f for f in candidates if f not in key and _can_extend(f)]
    while len(key) < 4 and (now := _repeats([*key, start])) > _REPEATS:
        rest = [field for field in others if field not in key]
        scored = [
            (_repeats([*key, start, field]), -names.key_score(field.path), i) for i, field in enumerate(rest)
        ]
        if not scored or min(scored)[0] > 0.6 * now:
            return
        key.append(rest[min(scored)[2]])


def _can_extend(field: Field) -> bool:
    """Whether a field divides the records into kinds, as a currency or a period does."""
    divides = 1 < field.distinct <= len(field.values) / 2
    return divides and names.key_score(field.path) >= -1 and guess(field).type == "string"


def _repeats(fields: Sequence[Field]) -> float:
    """The part of the rows whose values in these fields another row had before."""
    rows = list(zip(*(field.values for field in fields), strict=True))
    return 1 - len({_hashable(row) for row in rows}) / max(1, len(rows))


def _hashable(row: tuple[Any, ...]) -> Hashable:
    return tuple(value if value.__hash__ else repr(value) for value in row)


def _why(key: list[Field], rows: int) -> str:
    all_rows = zip(*(field.values for field in key), strict=True)
    given = [row for row in all_rows if None not in row and MISSING not in row]
    count, lacking = len(set(given)), rows - len(given)
    named = names.key_score(key[0].path) >= _NAMED
    why = f"{count:,} different in {rows:,} record{'s' * (rows != 1)}" + (
        "" if named else "; a guess, no field is named like a key"
    )
    if lacking:
        why += f"; {lacking:,} without it, which would become dead letters"
    return why + ("; one field alone is not enough" if len(key) > 1 else "")


def differing_fields(table: Table) -> list[Path]:
    """Texts in an array's elements that are there always and differ within each array of several."""
    if len(set(table.groups)) == len(table.groups):
        return []
    texts = (field for field in table.fields.values() if field.always and field.kinds == {str})
    return [f.path for f in texts if len(set(zip(table.groups, f.values, strict=True))) == table.rows]


def child_key(table: Table) -> Field | None:
    """A field of an array's elements that is there always and differs within each array."""
    several = len(set(table.groups)) < len(table.groups)
    best: tuple[float, Field] | None = None
    for field in table.fields.values():
        if not field.always or not field.kinds <= {str, int} or len(field.kinds) != 1:
            continue
        found = names.words(field.path)
        dated = 4 if {"date", "day", "from", "at"} & set(found) else 0
        score = max(names.key_score(field.path), dated) + (1 if field.kinds == {str} else 0)
        if len(set(zip(table.groups, field.values, strict=True))) != table.rows:
            continue
        if score >= (2 if several else 4) and (best is None or score > best[0]):
            best = (score, field)
    return best[1] if best else None
