"""What `infer` proposes takes the records that it has read; what it does not take is announced."""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline import Lake
from pipeline.config import dataset_schema, parse_config
from pipeline.decode import Decoder
from pipeline.decode.explain import explain
from pipeline.engine.options import decode_options
from pipeline.infer import lake_text, propose, read_sample
from pipeline.source.files import FileSource

ODD_TEXTS = [
    "", "2024-02-30", "2024-02-29", "2024-01-01T24:00:00Z", "2016-12-31T23:59:60Z", "2024-01-01T00:00:00+99:99",
    "0001-01-01T00:00:00+01:00", "9999-12-31T23:30:00-01:00", "9999-12-31", "2025-11-30T23:00:00.039353882Z",
    "2024-01-01T00:00:00", "2024-01-01 00:00", "2024-1-1", "0000-01-01", "1.5", "0.1234567890123", "1e5", "007",
    "-0.0", "0." + "1" * 40, "9" * 40 + ".5", "NaN", "3,10", "8f14e45f-ceea-467f-8a1d-6c0e1f2a3b4c",
    "8F14E45F-CEEA-467F-8A1D-6C0E1F2A3B4C", "put", "é€",
]  # fmt: skip
ODD_NUMBERS = ["1704067200", "1704067200000", "1704067200000000001", "9" * 25, "9" * 60, "0.1", "1.50", "0.30000000000000004",
               "1e300", "1e-9", "1e400", "1e-400", "-0.0", "1E+2", "0." + "3" * 45, "9007199254740993", "9007199254740993.0",
               "9" * 5000, "1e99999999999999999999"]  # fmt: skip
NAMES = [
    "a", "A", "a__b", "a.b", "a b", "#rows", "50%", "x/y", "..", ".", " ", "'", '"', "`", "é", "z" * 300, "position",
    "valid_from", "Valid_To", "system_to", "operation", "source_offset", "value", "isin", "ISIN", "rows", "rows__a",
    "rows__isin", "ts", "date", "to", "\n", "true",
]  # fmt: skip

scalars = (
    st.sampled_from([json.dumps(text) for text in ODD_TEXTS] + ODD_NUMBERS + ["null", "true", "false"])
    | st.integers().map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(json.dumps)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=4).map(json.dumps)
)
names = st.sampled_from(NAMES)


def in_object(members: dict[str, str]) -> str:
    return f"{{{','.join(f'{json.dumps(name)}:{value}' for name, value in members.items())}}}"


values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.dictionaries(names, inner, max_size=3).map(in_object)
    ),
    max_leaves=6,
)
columns = st.dictionaries(
    names, st.lists(scalars, min_size=1, max_size=3) | st.lists(values, min_size=1, max_size=3)
)


def rows(members: dict[str, list[str]]) -> list[dict[str, str]]:
    """Records with these members, one a record; a member may be missing in the later ones."""
    count = max((len(given) for given in members.values()), default=1)
    return [{name: given[at] for name, given in members.items() if at < len(given)} for at in range(count)]


def loaded(lines: list[str], folder: Path) -> tuple[Counter[str], str, int]:
    """Reasons of dead letters by their number, what infer wrote, how many lines there are."""
    file = folder / "things.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    sample = read_sample(str(file))
    text = lake_text(propose(sample), sample, str(file))
    config = parse_config(text, base=folder, environ={}).datasets[0]
    decoder = Decoder(dataset_schema(config), decode_options(config, envelope=sample.envelope))
    reasons: Counter[str] = Counter()
    count = 0
    for block in FileSource(file):
        batch = decoder.decode(block.buffer, block.starts, block.ends)
        count += len(batch)
        for at in np.flatnonzero(batch.status):
            reasons[explain(batch, int(at))[1].partition(", at byte")[0]] += 1
    return reasons, text, count


def announced(reasons: Counter[str], text: str, count: int) -> bool:
    flat = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text.replace("\n", "\0")).replace(
        "\\u0000", "\n"
    )
    return all(
        any(
            f" {number:,} of {count:,} lines would become " in line and line.rstrip().endswith(_shown(reason))
            for line in flat.splitlines()
        )
        for reason, number in reasons.items()
    )


def _shown(reason: str) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in reason).rstrip()


@settings(max_examples=60, deadline=None)
@example({"ts": ['"2025-11-30T23:00:00.039353882Z"'], "é": ["1e400", "9" * 5000]})
@example({"rows": ['[{"isin":1,"rows__isin":2,"position":3},{"isin":1}]'], "rows__isin": ["1"]})
@example({"a": ["[]"], "A": ["[1]"], "\n": ["[]"], "system_to": ["[]"]})
@example({"rows": ['[{"id":"1.0"},{"id":"1.00"}]']})
@given(columns)
def test_records_with_a_key_and_a_time_are_all_taken(members: dict[str, list[str]]) -> None:
    """Whatever else they hold."""
    members = {name: given for name, given in members.items() if name not in ("isin", "effective_from", "")}
    lines = [
        in_object({"isin": f'"X{at}"', "effective_from": f'"2024-01-{at + 1:02}"'} | row)
        for at, row in enumerate(rows(members))
    ]
    with tempfile.TemporaryDirectory() as folder:
        reasons, text, count = loaded(lines, Path(folder))
    timed = {
        reason
        for reason in reasons
        if "valid_to" in reason or "valid_from" in reason or "operation" in reason
    }
    assert set(reasons) <= timed, (reasons, text)
    assert announced(reasons, text, count), (reasons, text)


@settings(max_examples=60, deadline=None)
@example([{"isin": '"X"', "": "1", "date": '"2024-02-30"'}, {"isin": '"X"', "date": '"2024-02-28"'}])
@example(
    [{"isin": '"X"', "date": '"2024-01-01"', "a\nb": '"2024"'}, {"isin": "null", "date": '"2024-01-02"'}]
)
@given(
    st.lists(
        st.dictionaries(names | st.sampled_from(["", "id", "from", "key", "timestamp"]), values, max_size=6),
        min_size=1,
        max_size=4,
    )
)
def test_every_dead_letter_is_announced(records: list[dict[str, str]]) -> None:
    lines = [*map(in_object, records), '{"a":1,"a":2}', "", "not json", '{"isin":"X","date":"2024-01-01"}']
    with tempfile.TemporaryDirectory() as folder:
        reasons, text, count = loaded(lines, Path(folder))
    assert count == len(lines)
    assert announced(reasons, text, count), (reasons, text)


CASES: list[tuple[str, list[str], str]] = [
    (
        "numbers in text",
        ['{"symbol":"AAA","date":"2024-01-02","price":"0.1234567890123"}', '{"symbol":"AAA","date":"2024-01-03","price":"0.5"}'],
        'price: "decimal(20,16)"',
    ),
    (
        "times",
        [
            ('{"isin":"X1","effective_from":"2024-01-01","ns":"2025-11-30T23:00:00.039353882Z","h24":"2024-01-01T24:00:00Z",'
            '"leap":"2016-12-31T23:59:60Z","off":"2024-01-01T00:00:00+99:99","y1":"0001-01-01T00:00:00+01:00"}'),
            ('{"isin":"X2","effective_from":"2024-01-01","ns":"2025-11-30T23:00:00.039411041Z","h24":"2024-01-02T00:00:00Z",'
            '"leap":"2017-01-01T00:00:00Z","off":"2024-01-01T00:00:00Z","y1":"2024-01-01T00:00:00Z"}'),
        ],
        "times, 2 of 2 more precise than a microsecond",
    ),
    (
        "nanoseconds",
        [
            '{"ts_recv":"2025-11-30T23:00:00.039353882Z","symbol":"AAZ5","price":"6913.500000000"}',
            '{"ts_recv":"2025-11-30T23:00:00.039411041Z","symbol":"BBZ5","price":"6854.750000000"}',
        ],
        "time_precision: truncate                     # more precise than a microsecond: 2 of 2 in 'ts_recv'",
    ),
    (
        "nanoseconds since 1970",
        ['{"ts":1764543600039353882,"symbol":"AAZ5"}', '{"ts":1764543600039411041,"symbol":"BBZ5"}'],
        "more precise than a microsecond: 2 of 2 in 'ts'",
    ),
    (
        "a child's name",
        ['{"isin":"X1","effective_from":"2024-01-01","#rows":[{"v":1},{"v":2}]}'],
        '"#rows": json',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "told"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_sample_loads_whole(lines: list[str], told: str, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text("\n".join(lines))
    sample = read_sample(str(file))
    text = lake_text(propose(sample, "d"), sample, str(file))
    assert told in text
    (tmp_path / "lake.yaml").write_text(text)
    lake = Lake.open(tmp_path / "lake.yaml")
    summary = lake.load("d", map(json.loads, lines))
    assert (summary.changes, summary.dead_letters) == (len(lines), 0)


def inferred(lines: list[Any], folder: Path) -> tuple[Any, str]:
    file = folder / "r.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    sample = read_sample(str(file))
    text = lake_text(propose(sample), sample, str(file))
    return parse_config(text, base=folder, environ={}).datasets[0], text


def envelope(key: Any, value: Any, day: int = 1) -> dict[str, Any]:
    return {"timestamp": f"2024-02-{day:02}T00:00:00Z", "key": key, "value": value}


def test_the_envelopes_key_is_the_key_its_constant_columns_too(tmp_path: Path) -> None:
    lines = [
        envelope(
            {"code": f"C{i % 3}", "mic": "XETR"},
            {"code": f"C{i % 3}", "mic": "XETR", "id": i, "date": f"2024-01-{i + 1:02}"},
        )
        for i in range(20)
    ]
    config, text = inferred(lines, tmp_path)
    assert config.key == (("code",), ("mic",))
    assert "the envelopes' key; 3 different in 20 records" in text


def test_a_scalar_key_of_envelopes_is_found_among_the_fields(tmp_path: Path) -> None:
    lines = [
        envelope(f"{i % 3}", {"isin": f"X{i}", "ref": {"n": i % 3}, "date": "2024-01-01"}) for i in range(20)
    ]
    assert inferred(lines, tmp_path)[0].key == (("ref", "n"),)


def test_an_envelopes_key_that_no_field_has_is_told(tmp_path: Path) -> None:
    _, text = inferred([envelope("elsewhere", {"isin": "X", "date": "2024-01-01"})], tmp_path)
    assert 'the envelopes\' key (in 1, such as "elsewhere") is not the key of the records here (isin)' in text


def test_one_broken_line_among_envelopes(tmp_path: Path) -> None:
    lines = [
        *(envelope(None, {"isin": "X", "date": "2024-01-01"}, day) for day in range(1, 10)),
        {"isin": "X"},
    ]
    config, text = inferred(lines, tmp_path)
    assert config.key == (("isin",),)
    assert "1 of 10 lines would become a dead letter" in text


def test_members_of_one_object_are_the_key_together(tmp_path: Path) -> None:
    lines = [
        {"instrument": {"isin": f"X{i % 4}", "mic": "AB"[i % 2]}, "date": f"2024-01-{i // 8 + 1:02}"}
        for i in range(40)
    ]
    lines[3]["instrument"] = {"isin": "X3", "mic": "C"}
    assert inferred(lines, tmp_path)[0].key == (("instrument", "isin"), ("instrument", "mic"))


@pytest.mark.parametrize("broken", ["2024-02-30", "soon", 5, None, ""])
@pytest.mark.parametrize("name", ["ts_recv", "from"])
def test_a_time_that_nearly_all_have_is_the_valid_time(name: str, broken: Any, tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [{"isin": f"X{i}", name: f"2024-01-0{i + 1}"} for i in range(5)]
    lines[2][name] = broken
    config, text = inferred(lines, tmp_path)
    assert config.valid_from == (name,)
    assert "1 without it, which would become dead letters" in text
    assert "1 of 5 lines would become a dead letter: valid_from" in text or "valid time: valid_from" in text


def test_impossible_dates_are_told(tmp_path: Path) -> None:
    dates = ["2024-01-01", "2024-02-28", "2024-02-30"]
    _, text = inferred([{"isin": "X", "from": "2024-01-01", "due": due} for due in dates], tmp_path)
    assert "due: string" in text
    assert 'dates, but for 1 such as "2024-02-30" (not a date' in text
