"""Data files: their statistics keep what matches and drop what can't."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyiceberg.expressions import And, EqualTo, GreaterThan, LessThanOrEqual

from pipeline.sink import open_catalog
from pipeline.sink.files import ROW_GROUP_ROWS, upper_text
from tests import lakes


def test_statistics_prune_open_from_closed_and_old_from_new(tmp_path: Path) -> None:
    sink = lakes.sqlite_sink(tmp_path)
    schema = sink.open(lakes.dataset(), mode="append", partition_by=[])
    for number in (1, 2):
        opened = [{"isin": f"{number}{n}", "system_from": number * 100} for n in range(3)]
        closed = [{"isin": "A", "system_from": 1, "system_to": number * 100}]
        sink.commit(sink.write(lakes.epoch(schema, number, opened=opened, closed=closed)))
    table = open_catalog(lakes.sqlite_config(tmp_path)).load_table("ref.bonds")

    def files(row_filter: object) -> list[str]:
        found = table.scan(row_filter=row_filter).plan_files()  # type: ignore[arg-type]
        return sorted(Path(task.file.file_path).name.split("-")[1:3] for task in found)  # type: ignore[type-var]

    open_now = EqualTo("system_to", "9999-12-31T00:00:00+00:00")
    assert files(open_now) == [["0000000001", "open"], ["0000000002", "open"]]
    assert files(EqualTo("isin", "21")) == [["0000000002", "open"]]
    known_then = And(
        LessThanOrEqual("system_from", "1970-01-01T00:00:00.000100+00:00"),
        GreaterThan("system_to", "1970-01-01T00:00:00.000100+00:00"),
    )
    assert files(known_then) == [["0000000001", "open"], ["0000000002", "closed"]]


def test_values_too_long_for_statistics_are_still_found(tmp_path: Path) -> None:
    sink = lakes.sqlite_sink(tmp_path)
    schema = sink.open(lakes.dataset("bonds", lakes.column("note")), mode="append", partition_by=[])
    short = [{"isin": "B", "note": "m"}] * ROW_GROUP_ROWS
    long = [{"isin": "z" * 65_536, "note": "a" * 5000}]
    sink.commit(sink.write(lakes.epoch(schema, 1, opened=short + long)))
    table = open_catalog(lakes.sqlite_config(tmp_path)).load_table("ref.bonds")
    assert len(table.scan(row_filter=EqualTo("isin", "z" * 65_536)).to_arrow()) == 1
    assert len(table.scan(row_filter=EqualTo("note", "a" * 5000)).to_arrow()) == 1


def test_files_say_their_field_ids_and_kinds_never_share_one(tmp_path: Path) -> None:
    sink = lakes.sqlite_sink(tmp_path)
    schema = sink.open(lakes.dataset(), mode="append", partition_by=[])
    files = sink.write(lakes.epoch(schema, 1, opened=[{"isin": "A"}], closed=[{"isin": "B"}]))
    again = sink.write(lakes.epoch(schema, 1, opened=[{"isin": "A"}], closed=[{"isin": "B"}]))
    assert len({*files.paths, *again.paths}) == 4
    ids = [field.metadata[b"PARQUET:field_id"] for field in pq.read_schema(files.paths[0])]
    assert ids == [str(number).encode() for number in range(1, len(schema.parent.arrow) + 1)]


def test_no_value_in_a_column_is_no_error(tmp_path: Path) -> None:
    sink = lakes.sqlite_sink(tmp_path)
    values = [lakes.column(f"c{n}", name) for n, name in enumerate(lakes.EVERY_TYPE)]
    schema = sink.open(lakes.dataset("bonds", *values), mode="append", partition_by=[])
    sink.commit(sink.write(lakes.epoch(schema, 1, opened=[{"isin": "A"}])))
    assert lakes.read(sink, schema.parent)[0]["c0"] is None


@pytest.mark.parametrize(
    ("text", "most", "upper"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "abd"),
        ("ab\ud7ffx", 3, "ab\ue000"),
        ("a\U0010ffff\U0010ffffx", 3, "b"),
        ("\U0010ffff" * 4, 3, None),
        ("\ud7ff\U0010ffffx", 2, "\ue000"),
        ("", 3, ""),
    ],
)
def test_upper_bounds_are_text(text: str, most: int, upper: str | None) -> None:
    assert upper_text(text, most) == upper
    assert upper is None or (upper.encode() >= text.encode() and len(upper) <= most)
