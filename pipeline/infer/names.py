"""What the name of a field says about its part."""

import re

from pipeline.infer.fields import Path

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_KEY = {
    "id": 6, "isin": 9, "cusip": 8, "sedol": 8, "figi": 8, "lei": 7, "wkn": 8, "ric": 7, "symbol": 7,
    "ticker": 7, "key": 6, "uuid": 5, "guid": 5, "code": 4, "sku": 7, "identifier": 7, "instrument": 5,
    "security": 5, "currency": 3, "ccy": 3, "pair": 4, "account": 4, "index": 3, "number": 3, "no": 3,
    "nr": 3, "name": 2, "company": 3, "issuer": 2, "customer": 3, "bond": 3, "fund": 3, "entity": 3,
    "series": 3, "tenor": 2, "curve": 3, "station": 3, "sensor": 3, "device": 3, "user": 3, "product": 3,
    "employee": 3, "contract": 3, "metric": 1, "period": 1, "country": 1, "exchange": 1, "quote": 2,
    "base": 1, "benchmark": 3, "portfolio": 3, "mic": 2, "venue": 2, "market": 2,
}  # fmt: skip
_NOT_KEY = {
    "event": -7, "message": -7, "msg": -7, "request": -7, "trace": -8, "correlation": -8, "record": -6,
    "batch": -7, "sequence": -7, "seq": -7, "offset": -8, "version": -6, "revision": -6, "transaction": -4,
    "parent": -3, "hash": -8, "comment": -8, "note": -8, "reason": -8, "description": -6, "update": -3,
}  # fmt: skip
_NOT_KEY_LAST = {
    "status": -6, "type": -3, "action": -6, "operation": -6, "op": -6, "source": -4, "change": -4,
    "count": -5, "amount": -6, "price": -6, "rate": -5, "value": -5, "quantity": -5, "flag": -6,
    "rating": -4, "level": -3,
}  # fmt: skip
_FROM = {
    "from": 6, "effective": 6, "valid": 6, "start": 4, "starts": 4, "begin": 4, "since": 4, "asof": 5,
    "as_of": 5, "date": 3, "day": 3, "time": 1, "timestamp": 2, "ts": 2, "ex": 3, "value": 1, "applies": 3,
    "period": 2, "observation": 3, "observed": 3, "business": 2, "trade": 2, "on": 1, "at": 1, "reset": 2,
    "fixing": 2,
}  # fmt: skip
_NOT_FROM = {
    "to": -8, "until": -8, "end": -5, "ends": -8, "till": -8, "thru": -8, "through": -8, "expiry": -8,
    "expires": -8, "created": -6, "updated": -6, "modified": -6, "published": -5, "received": -6,
    "ingested": -8, "processed": -7, "loaded": -8, "announced": -5, "announcement": -5, "maturity": -7,
    "issue": -5, "issued": -4, "birth": -7, "pay": -4, "payment": -4, "record": -3, "next": -5, "last": -4,
    "previous": -5, "first": -3, "recorded": -5, "known": -6, "system": -6, "reported": -3, "filed": -4,
    "filing": -4, "sent": -6, "knowledge": -6,
}  # fmt: skip
_TO = {
    "to": 6,
    "until": 6,
    "end": 4,
    "ends": 4,
    "till": 6,
    "thru": 6,
    "through": 6,
    "expiry": 3,
    "expires": 4,
}
_KNOWN = {
    "published",
    "received",
    "created",
    "updated",
    "recorded",
    "known",
    "reported",
    "filed",
    "announced",
}
_OPERATION = {"op", "operation", "action", "event", "type", "change", "kind", "crud"}


def words(path: Path) -> list[str]:
    """The words of a path's names in lower case: ``effectiveFrom`` → effective, from."""
    return [word.lower() for name in path for word in _WORD.findall(name)]


def key_score(path: Path) -> int:
    """How much a field is named like an identifier."""
    found = words(path)
    score = max((_KEY.get(word, 0) for word in found), default=0)
    last = found[-1] if found else ""
    against = min((_NOT_KEY.get(word, 0) for word in found), default=0)
    return max(score - 1, _KEY.get(last, 0)) + against + _NOT_KEY_LAST.get(last, 0)


def from_score(path: Path) -> int:
    """How much a field is named like the start of valid time."""
    found = words(path)
    if "as" in found and "of" in found:
        found.append("asof")
    return sum(_FROM.get(word, 0) + _NOT_FROM.get(word, 0) for word in set(found))


def to_score(path: Path) -> int:
    """How much a field is named like the end of valid time."""
    return sum(_TO.get(word, 0) for word in set(words(path)))


def is_pair(start: Path, end: Path) -> bool:
    """Whether two names differ in the words for start and end only (``effective.from``, ``effective.to``)."""
    marks = set(_TO) | {"from", "start", "starts", "begin", "since"}
    return [w for w in words(start) if w not in marks] == [w for w in words(end) if w not in marks]


def says_known(path: Path) -> bool:
    """Whether a field is named like the time something became known."""
    return bool(_KNOWN & set(words(path)))


def says_operation(path: Path) -> bool:
    """Whether a field is named like an operation."""
    return words(path)[-1:] != [] and words(path)[-1] in _OPERATION
