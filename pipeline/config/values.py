"""Small types that lake.yaml's values are read into."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, PlainValidator, WithJsonSchema

from pipeline.config.mistakes import wrong
from pipeline.config.partitions import PARTITION_FIX, PartitionField
from pipeline.config.secrets import Properties
from pipeline.config.units import DURATION_FIX, SIZE_FIX, parse_duration, parse_size
from pipeline.errors import BadConfiguration
from pipeline.schema import ColumnType

ELEMENT = "."
"""The path of an array's element itself, for arrays of scalars."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOPIC = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]{1,249}")
_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)+")
PATH_FIX = (
    "write the member's name, with dots for nesting, such as terms.coupon; a name that has a dot: [a.b, c]"
)


def _path(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        if value.strip() == ELEMENT:
            return ()
        value = [step if step.strip() else "" for step in value.split(".")]
    if isinstance(value, list | tuple) and all(isinstance(step, str) for step in value):
        if all(value) and value:
            return tuple(value)
        raise wrong("a path has an empty step", PATH_FIX)
    raise wrong("this is not a path", PATH_FIX)


def spell_path(path: tuple[str, ...]) -> str:
    """A path as lake.yaml writes it."""
    if not path:
        return ELEMENT
    return f"[{', '.join(path)}]" if any("." in step for step in path) else ".".join(path)


def _paths(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _type(value: Any) -> ColumnType:
    if isinstance(value, ColumnType):
        return value
    if not isinstance(value, str):
        raise wrong("this is not a column type", "write a type's name, such as string, long or decimal(12,6)")
    try:
        return ColumnType.parse(value)
    except BadConfiguration as error:
        message, fix = error.message, error.next_step
    raise wrong(message, fix)


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise wrong("a duration needs a unit", DURATION_FIX)
    try:
        return parse_duration(value)
    except ValueError as error:
        message = str(error)
    raise wrong(message, DURATION_FIX)


def _size(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if not isinstance(value, str):
        raise wrong("this is not a size", SIZE_FIX)
    try:
        return parse_size(value)
    except ValueError as error:
        message = str(error)
    raise wrong(message, SIZE_FIX)


def _partition(value: Any) -> PartitionField:
    if isinstance(value, PartitionField):
        return value
    if not isinstance(value, str):
        raise wrong("this is not a partition field", PARTITION_FIX)
    try:
        return PartitionField.parse(value)
    except ValueError as error:
        message = str(error)
    raise wrong(message, PARTITION_FIX)


def is_name(value: Any) -> bool:
    """Whether this can be a dataset's name; then it can be a topic's, too."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _name(value: Any) -> str:
    if is_name(value):
        return str(value)
    raise wrong(
        "a name has letters, digits and _ only, and no digit first",
        "write such a name, as in `corporate_actions`",
    )


def _table(value: Any) -> str:
    if isinstance(value, str) and _TABLE.fullmatch(value):
        return value
    raise wrong("a table is named by its namespace and its name", "write namespace.table, such as ref.bonds")


def _topic(value: str) -> str:
    if _TOPIC.fullmatch(value):
        return value
    fix = "a topic's name has letters, digits, dots, underscores and hyphens only"
    raise wrong(f"'{value}' can't be a Kafka topic", fix)


def _topic_pattern(value: Any) -> str:
    if isinstance(value, str) and value and not set("{}") & set(value.replace("{topic}", "")):
        return value
    raise wrong("this is no pattern of topics", 'write a topic, or a pattern in quotes such as "{topic}.dlq"')


def _text(value: Any) -> Any:
    """A setting of another library: its values are text, whatever YAML made of them."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return ",".join(str(_text(item)) for item in value)
    return value


def _settings(value: Any) -> Properties:
    if not isinstance(value, dict):
        raise wrong("this is a mapping of settings", "write `name: value`, one a line, indented below")
    return Properties({str(k): _text(v) for k, v in value.items() if v is not None})


def _options(value: Any) -> Properties:
    if not isinstance(value, dict):
        raise wrong("this is a mapping of settings", "write `name: value`, one a line, indented below")
    return Properties({str(k): v for k, v in value.items()})


_TEXT_LIST = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_SCALARS = {"type": ["string", "number", "boolean", "array", "object", "null"]}

Path = Annotated[
    tuple[str, ...],
    PlainValidator(_path),
    PlainSerializer(spell_path),
    WithJsonSchema({"anyOf": [{"type": "string"}, _TEXT_LIST]}),
]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_paths, json_schema_input_type=str | tuple[Path, ...])]
Type = Annotated[ColumnType, PlainValidator(_type), PlainSerializer(str), WithJsonSchema({"type": "string"})]
Duration = Annotated[
    timedelta, PlainValidator(_duration), PlainSerializer(str), WithJsonSchema({"type": "string"})
]
Size = Annotated[int, PlainValidator(_size), WithJsonSchema({"type": ["string", "integer"]})]
Partition = Annotated[
    PartitionField, PlainValidator(_partition), PlainSerializer(str), WithJsonSchema({"type": "string"})
]
Name = Annotated[
    str, PlainValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"})
]
Table = Annotated[
    str, PlainValidator(_table), WithJsonSchema({"type": "string", "pattern": f"^{_TABLE.pattern}$"})
]
Topic = Annotated[str, AfterValidator(_topic)]
TopicPattern = Annotated[str, PlainValidator(_topic_pattern), WithJsonSchema({"type": "string"})]
Settings = Annotated[
    Properties,
    PlainValidator(_settings),
    WithJsonSchema({"type": "object", "additionalProperties": _SCALARS}),
]
Options = Annotated[
    Properties, PlainValidator(_options), WithJsonSchema({"type": "object", "additionalProperties": True})
]
