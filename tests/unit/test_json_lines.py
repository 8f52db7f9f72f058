"""Records of Python as the runtime reads them."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pytest

from pipeline.decode import Decoder
from pipeline.decode.explain import explain
from pipeline.errors import BadInput
from pipeline.json_lines import as_file, to_json
from tests.unit.decode.reading import column, dataset, decode, options
from tests.unit.decode.reading import records as read_records


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


def decoded(records, columns=None):
    """What becomes of records: (values of those that are taken, reasons of the others)."""
    schema = dataset(*(column(name, kind) for name, kind in (columns or {}).items()))
    with as_file(records) as file, file.open("rb") as stream:
        lines = stream.read().splitlines()
    decoder = Decoder(schema, options())
    batch = decode(decoder, *lines)
    found = read_records(batch, decoder.schema)
    reasons = [explain(batch, i)[1] for i, r in enumerate(found) if r.code]
    return [r.values for r in found if not r.code], reasons


HEAD = {"k": "a", "v": "2024-01-01"}


@pytest.mark.parametrize(
    "value",
    [
        "\ud800",
        "x\udfffy",
        {"\udc00": 1},
        ["\ud83d"],
        float("nan"),
        float("-inf"),
        Decimal("NaN"),
        Decimal("-Infinity"),
    ],
)
def test_what_json_has_no_value_for_is_a_dead_letter_and_the_others_are_loaded(value):
    taken, reasons = decoded([HEAD | {"x": 1}, HEAD | {"x": value}, HEAD | {"x": 2}])
    assert (taken, len(reasons)) == ([{"x": 1}, {"x": 2}], 1)
    assert "surrogate" in reasons[0] or "not JSON" in reasons[0]


def test_two_halves_are_one_character():
    assert decoded([HEAD | {"x": "\ud83d\ude00"}]) == ([{"x": "😀"}], [])


def cyclic():
    record = dict(HEAD)
    record["self"] = [record]
    return record


def deep():
    value = 1
    for _ in range(100_000):
        value = [value]
    return HEAD | {"x": value}


@pytest.mark.parametrize(
    "record",
    [cyclic, deep, lambda: HEAD | {"x": 10**5000}, lambda: {(1, 2): 3}, lambda: HEAD | {"x": {1, 2}}],
)
def test_what_can_not_be_written_says_what_to_do(record):
    with pytest.raises(BadInput) as caught:
        decoded([HEAD, record()])
    assert caught.value.next_step


@pytest.mark.parametrize("records", [None, 5, {"k": "a"}, "text"])
def test_records_that_are_no_iterable_of_mappings(records):
    with pytest.raises(BadInput, match="mapping"), as_file(records) as file:
        file.read_bytes()


@pytest.mark.parametrize("text", ["1E+1000000", "1E-1000000", "123456789.123456789", "1e-30"])
def test_decimals_keep_their_value_and_their_size(text):
    written = json.loads(to_json({"d": Decimal(text)}))["d"]
    assert Decimal(written) == Decimal(text)
    assert len(written) < 100


def test_names_that_are_no_strings_are_never_lost():
    assert len(decoded([HEAD | {1: "a", "1": "b"}], {"1": "string"})[1]) == 1
    assert decoded([HEAD | {1: "a"}], {"1": "string"}) == ([{"1": "a"}], [])


NS = pa.timestamp("ns")
MOMENT = 1_704_067_200_123_456_789


def test_nanoseconds_that_do_not_fit_are_dead_letters():
    table = pa.table(
        {
            "k": ["a", "b", "c"],
            "v": ["2024-01-01"] * 3,
            "t": pa.array([MOMENT, MOMENT - 789, None], NS),
            "z": pa.array([MOMENT, MOMENT - 789, None], pa.timestamp("ns", "Europe/Paris")),
        }
    )
    taken, reasons = decoded(table, {"t": "timestamp", "z": "timestamp"})
    assert taken == [{"t": MOMENT // 1000, "z": MOMENT // 1000}, {}]
    assert len(reasons) == 1
    assert "more precise than a microsecond" in reasons[0]
    taken, _ = decoded(table.select(["k", "v", "t"]), {"t": "string"})
    assert [row.get("t") for row in taken] == [
        "2024-01-01T00:00:00.123456789Z",
        "2024-01-01T00:00:00.123456+00:00",
        None,
    ]


def test_valid_times_of_nanoseconds_are_dead_letters():
    table = pa.table({"k": ["a"], "v": pa.array([MOMENT], NS)})
    assert "more precise" in decoded(table)[1][0]


@pytest.mark.parametrize(
    ("array", "written"),
    [
        (pa.array([MOMENT % 86_400_000_000_000], pa.time64("ns")), "00:00:00.123456789"),
        (pa.array([1_001], pa.time32("ms")), "00:00:01.001000"),
        (pa.array([86_399], pa.time32("s")), "23:59:59"),
        (pa.array([[MOMENT], None], pa.list_(NS)), ["2024-01-01T00:00:00.123456789Z"]),
        (pa.array([[MOMENT, None]], pa.large_list(NS)), ["2024-01-01T00:00:00.123456789Z", None]),
        (pa.array([[MOMENT]], pa.list_(NS, 1)), ["2024-01-01T00:00:00.123456789Z"]),
        (pa.array([[MOMENT]], pa.list_view(NS)), ["2024-01-01T00:00:00.123456789Z"]),
        (pa.array([{"a": [{"t": MOMENT}]}], pa.struct([("a", pa.list_(pa.struct([("t", NS)])))])), {"a": [{"t": "2024-01-01T00:00:00.123456789Z"}]}),
        (pa.array([[("x", MOMENT)]], pa.map_(pa.string(), NS)), [["x", "2024-01-01T00:00:00.123456789Z"]]),
        (pa.array(["x", None, "x"]).dictionary_encode(), "x"),
        (pa.array([MOMENT], NS).dictionary_encode(), "2024-01-01T00:00:00.123456789Z"),
        (pa.RunEndEncodedArray.from_arrays([2], pa.array(["x"])), "x"),
        (pa.array([Decimal("1.50")], pa.decimal256(50, 2)), "1.50"),
        (pa.array([UUID(int=1).bytes], pa.uuid()), "00000000-0000-0000-0000-000000000001"),
        (pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(["{}"])), "{}"),
        (pa.array([b"\x00\xff"], pa.binary_view()), "AP8="),
        (pa.array([1.5], pa.float16()), 1.5),
        (pa.array([2**64 - 1], pa.uint64()), 2**64 - 1),
        (pa.array([19_000 * 86_400_000], pa.date64()), "2022-01-08"),
        (pa.array([3_000_000], pa.date32()), "3000000 (days, beyond the years 1 to 9999)"),
        (pa.array([10**12], pa.timestamp("s")), "1000000000000 (beyond the years 1 to 9999)"),
        (pa.nulls(2), None),
    ],
)  # fmt: skip
def test_every_arrow_type_is_written_exactly(array, written):
    (first, *_) = lines_of(pa.table({"x": array}))
    assert first == {"x": written}
    assert lines_of(pa.table({"x": pa.concat_arrays([array.slice(0, 1), array])[1:]}))[0] == {"x": written}


@pytest.mark.parametrize(
    "table",
    [
        pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"]),
        pa.table({"x": pa.array([1], pa.duration("s"))}),
        pa.table({"x": pa.array([[1]], pa.list_(pa.duration("ns")))}),
        pa.table({"x": pa.array([(1, 2, 3)], pa.month_day_nano_interval())}),
        pa.table({"x": pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["y", "y"])}),
        pa.table({"x": pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff"))}),
    ],
    ids=["names", "duration", "list of durations", "interval", "names in a struct", "not UTF-8"],
)  # fmt: skip
def test_arrow_tables_that_can_not_be_read(table):
    with pytest.raises(BadInput, match="'x'") as caught:
        lines_of(table)
    assert caught.value.next_step


def test_rows_without_columns_are_records_too():
    assert lines_of(pa.table({"x": [1, 2]}).select([])) == [{}, {}]


def test_a_reader_of_batches():
    table = pa.table({"x": [1, 2]})
    assert lines_of(pa.RecordBatchReader.from_batches(table.schema, table.to_batches())) == [
        {"x": 1},
        {"x": 2},
    ]
