"""Records of Python as the runtime reads them."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pytest

from pipeline.errors import BadInput
from pipeline.json_lines import as_file, to_json


def lines_of(records):
    with as_file(records) as file, file.open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def test_values_keep_what_they_say():
    record = {
        "decimal": Decimal("0.0000000100"),
        "date": date(2024, 2, 29),
        "naive": datetime(2024, 2, 29, 12),  # noqa: DTZ001
        "aware": datetime(2024, 2, 29, 12, tzinfo=timezone(timedelta(hours=2))),
        "uuid": UUID(int=1),
        "bytes": b"\x00\xff",
        "big": 2**70,
        "text": "ü\n",
        "nested": [{"a": None}],
    }
    assert json.loads(to_json(record)) == {
        "decimal": "0.0000000100",
        "date": "2024-02-29",
        "naive": "2024-02-29T12:00:00+00:00",
        "aware": "2024-02-29T12:00:00+02:00",
        "uuid": "00000000-0000-0000-0000-000000000001",
        "bytes": "AP8=",
        "big": 2**70,
        "text": "ü\n",
        "nested": [{"a": None}],
    }


def test_an_iterable_of_dicts_is_read_once_and_lazily():
    assert lines_of({"n": n} for n in range(20_000)) == [{"n": n} for n in range(20_000)]


def test_an_arrow_table():
    table = pa.table({"k": ["a", None], "t": pa.array([1, 2], pa.timestamp("us", "UTC"))})
    assert lines_of(table) == [
        {"k": "a", "t": datetime.fromtimestamp(1e-6, UTC).isoformat()},
        {"k": None, "t": "1970-01-01T00:00:00.000002+00:00"},
    ]


@pytest.mark.parametrize("records", [["text"], [{"a": object()}], [{"a": 1}, 5]])
def test_what_is_no_record_is_explained_at_the_end(records):
    with pytest.raises(BadInput) as caught:
        lines_of(records)
    assert caught.value.next_step


def test_a_failure_of_the_callers_iterable_comes_back():
    def broken():
        yield {"a": 1}
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        lines_of(broken())


def test_a_reader_that_stops_early_ends_the_writer():
    with as_file({"n": n} for n in range(1_000_000)) as file, file.open() as stream:
        assert stream.readline() == '{"n": 0}\n'
