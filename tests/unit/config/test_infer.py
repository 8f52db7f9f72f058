"""A lake.yaml from data: the right parts, and always one that is valid."""

import gzip
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.config import DatasetConfig, dataset_schema, parse_config
from pipeline.errors import BadInput
from pipeline.infer import Sample, lake_text, propose, read_sample
from pipeline.infer.sample import dataset_name


def day(number: int) -> str:
    return (date(2024, 1, 1) + timedelta(days=number)).isoformat()


def instant(number: int) -> str:
    return f"{day(number)}T00:00:00Z"


def inferred(records: list[dict[str, Any]], folder: Path) -> tuple[DatasetConfig, str]:
    file = folder / "things.jsonl"
    file.write_text("\n".join(map(json.dumps, records)))
    sample = read_sample(str(file))
    text = lake_text(propose(sample), sample, str(file))
    return parse_config(text, base=Path("/lake"), environ={}).datasets[0], text


def types(config: DatasetConfig) -> dict[str, str]:
    return {".".join(column.path): str(column.type) for column in config.columns.values()}


def test_bonds_with_nesting_corrections_and_children(tmp_path: Path) -> None:
    records = [
        {
            "event_id": i,
            "isin": f"DE{i % 20:010d}",
            "action": ["put", "patch", "delete"][i % 3],
            "effective": {"from": instant(i), "to": None if i % 2 else instant(i + 9)},
            "terms": {"coupon": 1 + i / 8, "ccy": "EUR"},
            "matures": "2034-01-01",
            "calls": [{"call_date": day(90 * j), "price": 100.5, "parts": [{"n": 1}]} for j in range(i % 3)],
            "tags": ["a"],
            "published_at": instant(i + 1),
        }
        for i in range(100)
    ]
    config, text = inferred(records, tmp_path)
    assert (config.key, config.operation) == ((("isin",),), ("action",))
    assert (config.valid_from, config.valid_to) == (("effective", "from"), ("effective", "to"))
    assert config.valid_time == "timestamp"
    assert types(config) == {
        "event_id": "long",
        "terms.coupon": "decimal(18,6)",
        "terms.ccy": "string",
        "matures": "date",
        "published_at": "timestamp",
    }
    (calls,) = config.children
    assert (calls.path, calls.key) == (("calls",), (("call_date",),))
    assert {c.path[0]: str(c.type) for c in calls.columns.values()} == {
        "call_date": "date",
        "price": "decimal(18,4)",
    }
    assert calls.children[0].path == ("parts",)
    assert "tags has scalars" in text
    assert "'published_at' looks like when the record became known" in text
    assert "values seen: delete, patch, put" in text


ROWS = range(120)
VARIED: list[tuple[str, list[dict[str, Any]], dict[str, Any]]] = [
    (
        "rates: the currency, not the rate",
        [{"date": day(i // 6), "currency": "ABCDEF"[i % 6] * 3, "rate": 1.5 + i} for i in ROWS],
        {"key": (("currency",),), "valid_from": ("date",), "valid_time": "date"},
    ),
    (
        "a key of two fields, numbers in text",
        [{"base": "AB"[i % 2], "quote": "XYZ"[i % 3], "valueDate": day(i // 6), "mid": f"1.{i}"} for i in ROWS],
        {"key": (("quote",), ("base",)), "valid_from": ("valueDate",)},
    ),
    (
        "a report: company, period and metric; not the message's id",
        [
            {"id": f"{i:08x}-0000-4000-8000-000000000000", "lei": f"L{i % 10}", "fiscalPeriod": f"Q{i // 10 % 4}",
             "asOf": day(i // 80), "metric": ["rev", "ebit"][i // 40 % 2], "value": i * 10.5}
            for i in range(160)
        ],
        {"key": (("lei",), ("fiscalPeriod",), ("metric",)), "valid_from": ("asOf",)},
    ),
    (
        "sensors: integers as times",
        [{"ts": 1_704_067_200_000 + i, "deviceId": i % 7, "ok": True} for i in ROWS],
        {"key": (("deviceId",),), "valid_from": ("ts",), "valid_unit": "ms"},
    ),
    (
        "corporate actions: ex date, not pay date or announcement",
        [
            {"action_id": f"CA{i % 30}", "type": "split", "announced": day(i), "pay_date": day(i + 20), "ex_date": day(i + 9)}
            for i in ROWS
        ],
        {"key": (("action_id",),), "valid_from": ("ex_date",), "valid_to": None, "operation": None},
    ),
    (
        "people: start and end",
        [{"employeeNumber": i % 40, "name": "x", "start_date": day(i), "end_date": day(i + 9)} for i in ROWS],
        {"key": (("employeeNumber",),), "valid_from": ("start_date",), "valid_to": ("end_date",)},
    ),
    (
        "dates first, then times: timestamps",
        [{"symbol": f"S{i % 5}", "from": day(i), "to": instant(i + 1)} for i in ROWS],
        {"valid_from": ("from",), "valid_to": ("to",), "valid_time": "timestamp"},
    ),
    (
        "everything once: a snapshot",
        [{"sku": f"a-{i}", "since": "2024-01-01", "price": "10.25"} for i in ROWS],
        {"key": (("sku",),), "valid_from": ("since",)},
    ),
    (
        "envelopes",
        [{"timestamp": instant(i), "key": "D", "value": {"index": f"D{i % 3}", "date": day(i)}} for i in ROWS],
        {"key": (("index",),), "valid_from": ("date",)},
    ),
    ("one record", [{"id": 1, "from": "2024-01-01", "v": 1}], {"key": (("id",),), "valid_from": ("from",)}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("records", "wanted"), [case[1:] for case in VARIED], ids=[case[0] for case in VARIED]
)
def test_parts(records: list[dict[str, Any]], wanted: dict[str, Any], tmp_path: Path) -> None:
    config, _ = inferred(records, tmp_path)
    assert {name: getattr(config, name) for name in wanted} == wanted


TYPES = [
    ([1, -5], "long"),
    ([True, False], "boolean"),
    ([1, 2.5], "decimal(18,4)"),
    ([4.125], "decimal(18,6)"),
    (["4.125", "7"], "decimal(18,6)"),
    (["007", "8"], "string"),
    ([123456789012345.25], "decimal(22,4)"),
    ([0.1 + 0.2], "double"),
    ([1e-9, 1e300], "double"),
    ([2**63], "decimal(38,0)"),
    (["2024-02-29", None], "date"),
    (["2023-02-29"], "string"),
    (["2024-01-01T10:00:00.123456+05:30"], "timestamp"),
    (["2024-01-01T10:00:00"], "timestamp"),
    (["8f14e45f-ceea-467f-8a1d-6c0e1f2a3b4c"], "uuid"),
    ([1, "a"], "json"),
    ([{"a": 1}, 5], "json"),
    ([[1, {"a": 2}]], "json"),
    ([[[1]]], "json"),
]


@pytest.mark.parametrize(("values", "wanted"), TYPES)
def test_types(values: list[Any], wanted: str, tmp_path: Path) -> None:
    records = [{"isin": "X", "from": "2024-01-01", "x": value} for value in values]
    assert types(inferred(records, tmp_path)[0]) == {"x": wanted}


def test_a_map_from_data_to_values_stays_json(tmp_path: Path) -> None:
    records = [{"id": "a", "from": day(i), "m": {f"k{i}-{j}": 1 for j in range(3)}} for i in range(100)]
    assert types(inferred(records, tmp_path)[0]) == {"m": "json"}


def test_names_that_would_collide_get_others(tmp_path: Path) -> None:
    record = {
        "id": "x",
        "d": "2024-01-01",
        "A": 1,
        "a": 2,
        "a__b": 1,
        "Valid_From": 1,
        "system_to": 2,
        "x.y": {"z": 1},
    }
    config, _ = inferred([{**record, "true": 1, "a b": 1, 'q"': 1}], tmp_path)
    lower = [column.name.lower() for column in dataset_schema(config).parent.columns]
    assert len(set(lower)) == len(lower) == 10


NOTES = [
    ({"op": "insert"}, "'op' looks like an operation, but has insert"),
    ({"from": "2024-01-01T10:00:00"}, "valid time has no offset"),
    ({"to": "2024-01-31"}, "looks like the last valid day"),
    ({"nothing": None}, "nothing is always empty in the sample"),
]


@pytest.mark.parametrize(("member", "note"), NOTES)
def test_notes(member: dict[str, Any], note: str, tmp_path: Path) -> None:
    assert note in inferred([{"isin": "X", "from": "2024-01-01", **member}], tmp_path)[1]


def test_without_key_and_time_the_places_to_fill_are_marked(tmp_path: Path) -> None:
    _, text = inferred([{"x": 1.5}], tmp_path)
    assert text.count("# TODO") == 2


@pytest.mark.parametrize("packed", ["x.jsonl", "x.jsonl.gz", "x.jsonl.zst"])
def test_packed_files_and_lines_to_skip(packed: str, tmp_path: Path) -> None:
    content = b'\n{"a": 1}\n[1]\nnot json\nnull\n\xff\n{"a": 2}\n'
    pack = {"gz": gzip.compress, "zst": zstandard.compress, "jsonl": bytes}[packed.rsplit(".", 1)[1]]
    (tmp_path / packed).write_bytes(pack(content))
    sample = read_sample(str(tmp_path / packed))
    assert (sample.records, sample.skipped, sample.complete) == ([{"a": 1}, {"a": 2}], 4, True)
    assert "4 lines are no JSON object" in lake_text(propose(sample), sample, packed)
    assert not read_sample(str(tmp_path / packed), limit=1).complete


def test_arrays_without_a_name_for_a_table_stay_text(tmp_path: Path) -> None:
    rows = [{"id": "A", "date": "2024-01-01", "a.b": [{"x": 1}], "\x1f": [1], "ok": [{"x": 1}]}]
    sample = Sample("things", rows)
    config = parse_config(lake_text(propose(sample), sample, "x"), base=tmp_path, environ={})
    tables = dataset_schema(config.datasets[0]).tables
    assert [table.name for table in tables] == ["things", "things__ok"]
    texts = {column.path: str(column.type) for column in tables[0].values}
    assert texts[("a.b",)] == texts[("\x1f",)] == "json"


def test_half_a_surrogate_pair_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"a": "\\ud800"}\n{"a": "\\ud83d\\ude00"}\n')
    sample = read_sample(str(tmp_path / "x.jsonl"))
    assert (sample.records, sample.skipped) == ([{"a": "😀"}], 1)


BAD_FILES = [("no.jsonl", None, "does not exist"), ("e.jsonl", b"", "no JSON object"), ("l.jsonl", b"[{}]", "takes a list"),
             ("x.gz", b"no", "can't be unpacked"), ("x.zst", b"nonono", "can't be unpacked")]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "told"), BAD_FILES)
def test_files_that_can_not_be_used(name: str, content: bytes | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput) as caught:
        read_sample(str(tmp_path / name))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("file", "name"),
    [("data/Bonds-2024-01.jsonl.gz", "bonds"), ("fx rates.json", "fx_rates"), ("-", "records"), ("2024.jsonl", "records"),
     ("3m_libor.jsonl", "d_3m_libor")],
)  # fmt: skip
def test_names_of_datasets(file: str, name: str) -> None:
    assert dataset_name(file) == name


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
texts = st.sampled_from(["2024-01-01", "2024-01-01T00:00:00Z", "put", "delete", "id", "1.5"])
member = st.text(max_size=4) | st.sampled_from(
    ["id", "ID", "date", "a__b", "a.b", "position", "valid_from", "value"]
)
values = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(member, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100)
@example([{"id": [{}]}])
@example([{"\x1f": [{"ID": False}], "a": [{"\x1f": [{"q": 1}]}]}])
@example(
    [
        {
            "A": [{"x": 1}],
            "a": [{"x": [{"y": 1}]}],
            "a__x": [{"z": 1}],
            "a.b": [{"z": 1}],
            "z" * 300: [{"z": 1}],
        }
    ]
)
@example([{" ": False, "b": {"": 1, " ": [1]}}])
@example([{"\x1f": [1], "ID": [1], "id": "x", "date": "2024-01-01"}])
@given(st.lists(st.dictionaries(member, values, max_size=5), min_size=1, max_size=5))
def test_whatever_the_data_the_result_is_valid(records: list[dict[str, Any]]) -> None:
    sample = Sample("things", records)
    text = lake_text(propose(sample), sample, "things.jsonl")
    config = parse_config(text, base=Path("/lake"), environ={})
    assert dataset_schema(config.datasets[0]).parent.own_key


def test_a_short_sample_with_a_broken_record_still_has_its_key(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [
        {"index": {"id": f"I{i % 3}"}, "effective": {"date": day(i)}, "divisor": f"{i}.5"} for i in range(9)
    ]
    records[4] = {"index": {"name": "nameless"}, "divisor": "1.0"}
    records[5]["divisor"] = "3,10"
    config, text = inferred(records, tmp_path)
    assert (config.key, config.valid_from) == ((("index", "id"),), ("effective", "date"))
    assert "3 different in 9 records; 1 without it, which would become dead letters" in text
    assert 'numbers with a fraction, but for 1 such as "3,10"' in text
    assert "bucket(8, index__id)" in text


@pytest.mark.parametrize("record", [{" ": False}, {"\x1f": [{"ID": False}]}, {'"': {"0": [{"ID": False}]}}])
def test_names_that_nobody_can_speak(record: dict[str, Any], tmp_path: Path) -> None:
    inferred([record], tmp_path)


def test_fields_that_may_name_an_element_are_told(tmp_path: Path) -> None:
    ratings = [{"agency": "S&P", "grade": "AA"}, {"agency": "Fitch", "grade": "AA-"}]
    records = [{"isin": f"A{i}", "from": "2024-01-01", "ratings": ratings} for i in range(3)]
    _, text = inferred(records, tmp_path)
    assert "# the position is the key; agency or grade, if it names an element" in text


def test_a_short_sample_with_a_broken_date_still_has_its_valid_time(tmp_path: Path) -> None:
    """The end alone is in every record: it is not taken for the start."""
    records = [{"lei": f"L{i % 3}", "period": {"from": day(i), "to": day(i + 9)}, "n": i} for i in range(6)]
    records[4]["period"]["from"] = "not a date"  # type: ignore[index]
    config, text = inferred(records, tmp_path)
    assert (config.valid_from, config.valid_to) == (("period", "from"), ("period", "to"))
    assert config.valid_time == "date"
    assert "1 without it, which would become dead letters" in text
