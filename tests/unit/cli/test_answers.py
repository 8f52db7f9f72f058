"""The answers of the command line, to the letter of its interface."""

import csv
import io
import json
from datetime import date

import pyarrow as pa
import pytest

from pipeline.cli.questions import by_valid_time
from pipeline.sink.epoch import Position
from tests.unit.query.lakes import catalog_in, create, rows_of, system_us, table_schema

FIRST = {
    "isin": "A",
    "level": 1,
    "valid_from": "2024-01-01",
    "valid_to": None,
    "system_from": "2024-01-01T00:00:01.000000Z",
    "system_to": "2024-01-01T00:00:02.000000Z",
}
SECOND = FIRST | {"valid_to": "2024-01-10", "system_from": "2024-01-01T00:00:02.000000Z", "system_to": None}
THIRD = SECOND | {"level": 2, "valid_from": "2024-01-10", "valid_to": None}
EARLY, LATE = "2024-01-01T00:00:01Z", "2024-01-01T00:00:02Z"


def test_history_is_one_array_of_objects(lake, bitlake):
    result = bitlake("history", "bonds", "--output", "json")
    assert result.status == 0
    assert result.json == [FIRST, SECOND, THIRD]
    assert list(result.json[0]) == list(FIRST)
    assert result.err == ""


def test_provenance_adds_its_columns(lake, bitlake):
    rows = bitlake("history", "bonds", "--output", "json", "--provenance").json
    assert list(rows[0])[len(FIRST) :] == [
        "operation", "source_topic", "source_partition", "source_offset",
        "closed_by_operation", "closed_by_partition", "closed_by_offset",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("system", "rows"), [(EARLY, [FIRST]), (LATE, [SECOND, THIRD]), (None, [SECOND, THIRD])]
)
def test_timeline(lake, bitlake, system, rows):
    words = ["--system", system] if system else []
    assert bitlake("timeline", "bonds", "--output", "json", *words).json == rows


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        (["--valid", "2024-01-20"], [THIRD]),
        (["--valid", "2024-01-20", "--system", EARLY], [FIRST]),
        (["--valid", "2024-01-09T23:00:00Z", "--system", LATE], [SECOND]),
        ([], [THIRD]),
        (["--valid", "now", "--system", "now"], [THIRD]),
        (["--valid", "2023-01-01"], []),
        (["--key", "isin=A"], [THIRD]),
        (["--key", "isin=B"], []),
    ],
)
def test_asof(lake, bitlake, words, rows):
    assert bitlake("asof", "bonds", "--output", "json", *words).json == rows


def test_diff_tells_old_and_new(lake, bitlake):
    result = bitlake("diff", "bonds", "--from", EARLY, "--to", LATE, "--output", "json")
    assert result.json == [
        {
            "isin": "A",
            "valid_from": "2024-01-10",
            "valid_to": None,
            "change": "changed",
            "old": {"isin": "A", "level": 1},
            "new": {"isin": "A", "level": 2},
        }
    ]
    back = bitlake("diff", "bonds", "--from", LATE, "--to", "2023-01-01", "--output", "jsonl")
    assert [json.loads(line)["change"] for line in back.out.splitlines()] == ["removed", "removed"]


def test_jsonl_has_an_object_per_line(lake, bitlake):
    lines = bitlake("history", "bonds", "--output", "jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == [FIRST, SECOND, THIRD]


def test_csv_has_a_header_and_empty_cells_for_null(lake, bitlake):
    rows = list(csv.reader(io.StringIO(bitlake("history", "bonds", "--output", "csv").out)))
    assert rows[0] == list(FIRST)
    assert rows[1] == ["" if value is None else str(value) for value in FIRST.values()]
    assert len(rows) == 4


def test_the_table_is_readable(lake, bitlake):
    out = bitlake("timeline", "bonds").out
    assert "valid_from" in out
    assert "2024-01-01 00:00:02" in out
    assert "∞" in out


def test_the_table_of_a_diff_shows_what_differs(lake, bitlake):
    (line,) = [
        row
        for row in bitlake("diff", "bonds", "--from", EARLY, "--to", LATE).out.splitlines()
        if "chan" in row
    ][1:]
    assert line.split() == ["A", "2024-01-10", "∞", "changed", "level=1", "level=2"]


def test_sql_sees_the_views(lake, bitlake):
    result = bitlake(
        "sql", "SELECT isin, max(level) AS level FROM bonds_asof('2024-01-20') GROUP BY 1", "--output", "json"
    )
    assert result.json == [{"isin": "A", "level": 2}]


def test_beyond_the_horizon_is_answered_with_a_note(lake, bitlake):
    result = bitlake("timeline", "bonds", "--system", LATE, "--output", "json")
    assert "horizon=2024-01-01T00:00:01.999999Z" in result.err
    assert bitlake("timeline", "bonds", "--system", EARLY).err == ""
    logged = json.loads(bitlake("timeline", "bonds", "--system", LATE, "--log-format", "json").err)
    assert (logged["level"], logged["horizon"]) == ("warning", "2024-01-01T00:00:01.999999Z")


def test_status(lake, bitlake):
    bonds, empty = bitlake("status", "--output", "json").json
    assert (bonds["epoch"], bonds["rows"], bonds["files"]) == (None, 4, 2)
    assert bonds["tables"]["bonds"]["rows"] == 4
    assert (empty["dataset"], empty["rows"], empty["dead_letters"]) == ("empty", 0, 0)


def test_status_lists_partitions_by_number(lake, bitlake):
    schema = table_schema({"isin": "string"}, {"level": "long"}, name="empty")
    clocks = {partition: system_us(1) for partition in (10, 2, -1, 1)}
    position = Position(1, {10: 5, 2: 6, -1: 7, 1: 8}, clocks, system_us(1) - 1)
    table = create(catalog_in(lake), schema)
    table.append(rows_of([], schema), snapshot_properties=position.to_summary("empty"))
    told = bitlake("status", "--output", "json").json[1]
    assert list(told["offsets"].items()) == [("-1", 7), ("1", 8), ("2", 6), ("10", 5)]
    assert list(told["clocks"]) == ["-1", "1", "2", "10"]


def test_views_are_printed_for_trino(lake, bitlake):
    out = bitlake("views", "--catalog", "lake").out
    assert 'CREATE OR REPLACE VIEW "lake"."ref"."bonds_history" AS' in out
    assert 'CREATE OR REPLACE VIEW "lake"."ref"."bonds_current" AS' in out


def test_views_of_other_formats_name_each_statement(lake, bitlake):
    told = bitlake("views", "--catalog", "lake", "--output", "json").json
    assert [one["view"] for one in told] == ['"lake"."ref"."bonds_history"', '"lake"."ref"."bonds_current"']
    assert all(one["statement"].startswith(f"CREATE OR REPLACE VIEW {one['view']} AS") for one in told)


def test_views_are_not_made_where_no_trino_answers(lake, bitlake):
    result = bitlake("views", "--trino", "http://127.0.0.1:1")
    assert result.status == 1
    assert "Trino does not answer at http://127.0.0.1:1" in result.err


def test_a_timeline_on_a_terminal_goes_from_left_to_right():
    days = [date(2024, 3, 1), date(2024, 1, 1), date(2024, 2, 1)]
    rows = pa.table({"isin": ["A", "A", "A"], "valid_from": days, "system_from": [1, 2, 3]})

    assert by_valid_time(rows, ["isin"])["system_from"].to_pylist() == [2, 3, 1]
    assert by_valid_time(rows, ["gone"]) is rows


def test_a_key_may_be_spelled_with_dots(lake, bitlake):
    assert bitlake("asof", "bonds", "--key", "no.key=A").err.startswith("Error: 'no.key' is not a key column")
