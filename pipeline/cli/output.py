"""What commands print: one interface, an implementation per format."""

import csv
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pipeline.errors import BitlakeError

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 1_000
"""Rows that a terminal table shows; the other formats have all."""
_MOST_TEXT = 60
_WIDE = 100_000
_ENDS = ("valid_to", "system_to")


class Format(StrEnum):
    """The formats of --output."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


class Output(ABC):
    """Where the answer of a command goes."""

    @abstractmethod
    def rows(self, rows: "pa.Table") -> None:
        """Print a table."""

    @abstractmethod
    def records(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Print a few objects of plain values that have the same members."""

    @abstractmethod
    def record(self, record: Mapping[str, Any]) -> None:
        """Print one object of plain values."""

    def error(self, error: BitlakeError) -> None:
        """Say on standard error what went wrong and what to do."""
        print(f"Error: {error.message}", file=sys.stderr)
        if error.next_step:
            print(f"  {error.next_step}", file=sys.stderr)


def output_of(format_: Format) -> Output:
    """The implementation of a format."""
    match format_:
        case Format.TABLE:
            return TableOutput()
        case Format.JSON:
            return JsonOutput()
        case Format.JSONL:
            return JsonLinesOutput()
        case Format.CSV:
            return CsvOutput()


class JsonOutput(Output):
    """One JSON document."""

    def rows(self, rows: "pa.Table") -> None:
        from pipeline.cli.plain import plain_rows

        names, separator = rows.column_names, "["
        for row in plain_rows(rows):
            sys.stdout.write(f"{separator}{_json(dict(zip(names, row, strict=True)))}")
            separator = ",\n"
        sys.stdout.write("[]\n" if separator == "[" else "]\n")

    def records(self, records: Sequence[Mapping[str, Any]]) -> None:
        print(_json(records))

    def record(self, record: Mapping[str, Any]) -> None:
        print(_json(record))

    def error(self, error: BitlakeError) -> None:
        print(
            _json(
                {
                    "error": error.message,
                    "next_step": error.next_step,
                    "category": error.category.value,
                    "retryable": error.retryable,
                }
            ),
            file=sys.stderr,
        )


class JsonLinesOutput(JsonOutput):
    """One JSON object per line."""

    def rows(self, rows: "pa.Table") -> None:
        from pipeline.cli.plain import plain_rows

        names = rows.column_names
        for row in plain_rows(rows):
            sys.stdout.write(_json(dict(zip(names, row, strict=True))) + "\n")

    def records(self, records: Sequence[Mapping[str, Any]]) -> None:
        for record in records:
            print(_json(record))


class CsvOutput(Output):
    """CSV with a header; null is empty, objects are JSON."""

    def rows(self, rows: "pa.Table") -> None:
        from pipeline.cli.plain import plain_rows

        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(rows.column_names)
        writer.writerows([_cell(value) for value in row] for row in plain_rows(rows))

    def records(self, records: Sequence[Mapping[str, Any]]) -> None:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        if records:
            writer.writerow(records[0])
        writer.writerows([_cell(value) for value in record.values()] for record in records)

    def record(self, record: Mapping[str, Any]) -> None:
        self.records([record])


class TableOutput(Output):
    """Tables for people; no end is an infinity sign."""

    def rows(self, rows: "pa.Table") -> None:
        import pyarrow as pa

        from pipeline.cli.plain import plain_rows

        right = [
            pa.types.is_decimal(t) or pa.types.is_integer(t) or pa.types.is_floating(t)
            for t in rows.schema.types
        ]
        shown = list(plain_rows(rows.slice(0, MOST_ROWS)))
        if rows.column_names[-2:] == ["old", "new"]:
            shown = [(*row[:-2], *_differences(row[-2], row[-1], rows.column_names)) for row in shown]
        self._print(rows.column_names, right, shown)
        if rows.num_rows > MOST_ROWS:
            print(f"... and {rows.num_rows - MOST_ROWS:,} more rows: --output json, jsonl or csv has them")
        elif not rows.num_rows:
            print("(no rows)")

    def records(self, records: Sequence[Mapping[str, Any]]) -> None:
        if records:
            right = [isinstance(value, int) for value in records[0].values()]
            self._print(list(records[0]), right, [tuple(record.values()) for record in records])

    def record(self, record: Mapping[str, Any]) -> None:
        width = max(len(name) for name in record)
        for name, value in record.items():
            print(f"{name:<{width}}  {_shown(name, value, most=None)}")

    def _print(self, names: Sequence[str], right: Sequence[bool], rows: Sequence[Sequence[Any]]) -> None:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold cyan")
        for name, is_right in zip(names, right, strict=True):
            table.add_column(name, justify="right" if is_right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(_shown(name, value)) for name, value in zip(names, row, strict=True)))
        console = Console()
        if not console.is_terminal:
            console.width = _WIDE
        console.print(table)


_json = json.JSONEncoder(ensure_ascii=False).encode


def _differences(old: Any, new: Any, key: Sequence[str]) -> tuple[Any, Any]:
    """The members of a diff's old and new values that are not the same, and not in the key's own columns."""
    if not all(side is None or isinstance(side, dict) for side in (old, new)):
        return old, new
    same = {name for name in old or () if new is not None and old[name] == new[name]} | set(key)
    old, new = ({n: v for n, v in side.items() if n not in same} if side else side for side in (old, new))
    return old, new


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return _json(value)
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def _shown(name: str, value: Any, *, most: int | None = _MOST_TEXT) -> str:
    from pipeline.cli.plain import spelled_for_people

    match value:
        case None:
            return "∞" if name in _ENDS else ""
        case bool():
            return "true" if value else "false"
        case dict():
            text = ", ".join(f"{key}={_shown(key, item)}" for key, item in value.items())
        case list():
            text = ", ".join(_shown("", item) for item in value)
        case str():
            text = spelled_for_people(value)
        case int() if most is None:
            return f"{value:,}"
        case _:
            return str(value)
    return text if most is None or len(text) <= most or isinstance(value, dict) else text[: most - 1] + "…"
