"""pydantic's errors in the words of a user of lake.yaml."""

from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from pipeline.config.document import Document, Steps
from pipeline.config.mistakes import Mistake, did_you_mean, one_of
from pipeline.config.models import (
    ChildConfig,
    ColumnConfig,
    CommitConfig,
    DatasetConfig,
    DeadLettersConfig,
    LakeConfig,
    TimeConfig,
)
from pipeline.config.secrets import is_secret

_SECTIONS: dict[str, type[BaseModel]] = {
    "commit": CommitConfig,
    "time": TimeConfig,
    "dead_letters": DeadLettersConfig,
}
_ITEMS: dict[str, type[BaseModel]] = {"datasets": DatasetConfig, "children": ChildConfig}
_MISSING = {
    "datasets": "declare one: name, table, key and valid_from; `bitlake infer FILE` writes it from data",
    "name": "add `name:` with what commands shall call the dataset",
    "table": "add `table:` with the Iceberg identifier, such as ref.bonds",
    "key": "add `key:` with the path of the business key, or a list of paths",
    "valid_from": "add `valid_from:` with the path of the date or time from which the values hold",
    "path": "add `path:` with where the array is",
    "type": "add `type:`, such as string, long, decimal(12,6), date, timestamp or json",
}


def model_at(path: Steps) -> type[BaseModel] | None:
    """The model that reads the mapping at a path."""
    if not path:
        return LakeConfig
    if len(path) == 1:
        return _SECTIONS.get(str(path[0]))
    if isinstance(path[-1], int):
        return _ITEMS.get(str(path[-2]))
    return ColumnConfig if path[-2] == "columns" else None


def translated(error: ErrorDetails, document: Document) -> Mistake:
    """One pydantic error as a mistake at its line."""
    path = tuple(error["loc"])
    kind, context = error["type"], error.get("ctx") or {}
    if kind == "extra_forbidden":
        model = model_at(path[:-1])
        names = list(model.model_fields) if model else []
        fix = did_you_mean(path[-1], names) if names else "remove it"
        return document.mistake(path, f"there is no setting '{path[-1]}' here", fix)
    if kind == "missing":
        name = str(path[-1])
        return document.mistake(path[:-1], f"'{name}' is missing", _MISSING.get(name, f"add `{name}:`"))
    if kind == "bitlake":
        return document.mistake(path, str(context["message"]), str(context["fix"]), at_value=True)
    shown = _shown(path, error["input"]) if kind in _SHOWING else "this"
    message, fix = _explain(kind, context, shown)
    return document.mistake(path, message, fix, at_value=True)


def _shown(path: Steps, value: Any) -> str:
    """The value as a message may show it: never one that may be secret."""
    safe = path[:1] in (("datasets",), ("commit",), ("time",)) and not any(is_secret(step) for step in path)
    return f"'{value}'" if safe and isinstance(value, str | int | float) else "this"


_SHOWING = ("enum", "greater_than", "greater_than_equal", "int_parsing", "float_parsing")


def _enum(context: dict[str, Any], shown: str) -> tuple[str, str]:
    choices = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")
    close = did_you_mean(shown.strip("'"), choices)
    return f"{shown} is not one of {one_of(choices)}", close


def _explain(kind: str, context: dict[str, Any], shown: str) -> tuple[str, str]:
    if kind == "enum":
        return _enum(context, shown)
    if kind == "greater_than":
        return f"{shown} is too small", f"write a number greater than {context['gt']:g}"
    if kind == "greater_than_equal":
        return f"{shown} is too small", f"write a number of at least {context['ge']}"
    if kind == "too_short":
        return "the list is empty", "give at least one; `bitlake infer FILE` writes one from data"
    wanted = _WANTED.get(kind.partition("_")[0], "another value")
    return f"{shown} is not {wanted}", f"write {wanted}"


_WANTED = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a list, one item a line with a dash",
    "dict": "a mapping, `name: value` lines indented below",
    "model": "a mapping, `name: value` lines indented below",
    "path": "the path of a folder",
}
