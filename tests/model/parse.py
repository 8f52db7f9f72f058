"""JSON by RFC 8259, each value with its text, nothing lost: duplicates, spellings of numbers, white space."""

import re
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from .dataset import Rejected

NUMBER = re.compile(r"(-?)(0|[1-9]\d*)(?:\.(\d+))?(?:[eE]([+-]?\d+))?", re.ASCII)
_WORD = re.compile("null|true|false")
_SPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True)
class Number:
    """A JSON number as it was written: nothing passes through a float unless its column is one."""

    text: str

    @property
    def whole(self) -> bool:
        """Written without fraction and exponent."""
        return not set(self.text) & set(".eE")

    @property
    def significant(self) -> tuple[str, int]:
        """Its digits from the first to the last that is not 0, and the power of ten of the last."""
        _, whole, fraction, exponent = NUMBER.fullmatch(self.text).groups(default="")  # type: ignore[union-attr]
        digits = (whole + fraction).lstrip("0")
        size = exponent.lstrip("+-").lstrip("0")
        power = 10**20 if len(size) > 20 else int(size or 0)
        shift = (-power if exponent.startswith("-") else power) - len(fraction)
        return digits.rstrip("0"), shift + len(digits) - len(digits.rstrip("0"))

    @property
    def integer(self) -> int | None:
        """The integer that it is, however written, or None; 10**40 stands for anything larger."""
        digits, shift = self.significant
        if not digits:
            return 0
        if shift < 0:
            return None
        size = 10**40 if len(digits) + shift > 40 else int(digits) * 10**shift
        return -size if self.text.startswith("-") else size


@dataclass(frozen=True)
class Json:
    """A JSON value and its text: None, bool, str, `Number`, a list of `Json`, or `Members`."""

    value: Any
    text: str

    @property
    def content(self) -> bool:
        """More than null or an object of nulls."""
        if isinstance(self.value, Members):
            return any(member.content for _, member in self.value.pairs)
        return self.value is not None

    def at(self, path: tuple[str, ...]) -> "Json":
        """What lies at a path through objects; null where nothing does."""
        if not path:
            return self
        pairs = self.value.pairs if isinstance(self.value, Members) else ()
        return dict(pairs).get(path[0], NULL).at(path[1:])


@dataclass(frozen=True)
class Members:
    """An object's members in order, duplicates included."""

    pairs: tuple[tuple[str, Json], ...]

    def doubled(self) -> set[str]:
        """Names that more than one member has."""
        names = [name for name, _ in self.pairs]
        return {name for name in names if names.count(name) > 1}


NULL = Json(None, "null")
MOST_DEPTH = 128


class NotJson(Rejected):
    """Bytes that are no JSON document at all."""


def read_json(data: bytes, depth: int = MOST_DEPTH) -> Json:
    """Parse one JSON document (RFC 8259) in which nothing lies in more than ``depth`` containers."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Rejected("decode", "not UTF-8") from None
    value, end = _value(text, _space(text, 0), depth)
    if _space(text, end) != len(text):
        raise NotJson("decode", "more behind the document")
    return value


def _space(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]


def _value(text: str, at: int, depth: int) -> tuple[Json, int]:
    start = at
    value: Any
    if text[at : at + 1] in ("{", "["):
        if depth == 0:
            raise Rejected("decode", "nested too deeply")
        value, at = _container(text, at, depth - 1)
    elif text[at : at + 1] == '"':
        value, at = _string(text, at)
    elif found := NUMBER.match(text, at):
        value, at = Number(found[0]), found.end()
    elif found := _WORD.match(text, at):
        value, at = {"null": None, "true": True, "false": False}[found[0]], found.end()
    else:
        raise NotJson("decode", "not JSON")
    return Json(value, text[start:at]), at


def _string(text: str, at: int) -> tuple[str, int]:
    try:
        value, at = scanstring(text, at + 1, True)
    except ValueError:
        raise NotJson("decode", "not JSON") from None
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise Rejected("decode", "lone surrogate")
    return value, at


def _container(text: str, at: int, depth: int) -> tuple[list[Json] | Members, int]:
    close, items = {"{": "}", "[": "]"}[text[at]], []
    at = _space(text, at + 1)
    while text[at : at + 1] != close or items:
        name = ""
        if close == "}":
            if text[at : at + 1] != '"':
                raise NotJson("decode", "not JSON")
            name, at = _string(text, at)
            at = _space(text, _mark(text, _space(text, at), ":"))
        value, at = _value(text, at, depth)
        items.append((name, value))
        at = _space(text, at)
        if text[at : at + 1] == close:
            break
        at = _space(text, _mark(text, at, ","))
    return (Members(tuple(items)) if close == "}" else [value for _, value in items]), at + 1


def _mark(text: str, at: int, mark: str) -> int:
    if text[at : at + 1] != mark:
        raise NotJson("decode", "not JSON")
    return at + 1
