"""Whatever comes in: one clear outcome for each record, and its neighbours untouched."""

import dataclasses
import gzip
import itertools
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from pipeline.cli.plain import plain_rows
from pipeline.lake import Lake
from tests.forks import Child, Forks
from tests.unit.cli.bad_records import CASES, NAMES
from tests.unit.cli.conftest import Result

LAKE = """\
catalog: {name: lake, type: sql, uri: "sqlite:///catalog.db", warehouse: warehouse}
state: state
commit: {records: 5000}
datasets:
  - name: bonds
    table: ref.bonds
    key: [k]
    valid_from: v
    valid_to: t
    operation: op
    columns: {k: string, d: double, l: long, n: "decimal(38,10)", m: "decimal(5,2)", field: long, Twin: long}
    children:
      - {path: calls, key: [c]}
  - {name: plain, table: ref.plain, key: [k], valid_from: v}
  - {name: odd, table: ref.odd, key: [change, valid, _edge, "a b"], valid_from: v}
"""
Run = Callable[..., Result]


@dataclasses.dataclass
class Loaded:
    """What the load of all cases left: its counts, its rows by key, its dead letters by offset."""

    counts: dict[str, int]
    strict: int
    rows: dict[str, list[dict[str, Any]]]
    letters: dict[int, dict[str, Any]]
    folder: Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake")
    (folder / "lake.yaml").write_text(LAKE)
    return folder


def start(forks: Forks, folder: Path, *words: str) -> Child:
    """A command line in a process of its own."""
    return forks.start("tests.forks:command_line", str(folder), *words)


@pytest.fixture(scope="module")
def loaded(folder: Path, forks: Forks) -> Loaded:
    """Every case between two neighbours, in one file without a newline at its end."""
    lines = [b"\xef\xbb\xbf" + neighbour(0)]
    for number, case in enumerate(CASES, 1):
        lines += [case.line, neighbour(number)]
    (folder / "cases.jsonl").write_bytes(b"\n".join(lines))
    first = start(forks, folder, "load", "bonds", "cases.jsonl", "--output", "json", "--fail-on-dead-letters")
    out, _ = first.communicate()
    lake = Lake.open(folder / "lake.yaml")
    rows: dict[str, list[dict[str, Any]]] = {}
    history = lake.history("bonds")
    for values in plain_rows(history):
        row = dict(zip(history.column_names, values, strict=True))
        rows.setdefault(row["k"], []).append(row)
    letters = lake.dead_letters()
    assert letters is not None
    found = {row["offset"]: row for row in letters.waiting().to_pylist()}
    return Loaded(json.loads(out), first.returncode, rows, found, folder)


def neighbour(number: int) -> bytes:
    return b'{"k":"neighbour %d","v":"2024-01-01","l":%d}' % (number, number)


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name[:40] for case in CASES])
def test_each_has_one_outcome(loaded: Loaded, number: int) -> None:
    case, offset = CASES[number], 2 * number + 1
    letter, rows = loaded.letters.get(offset), loaded.rows.get(case.name)
    if case.stage:
        assert letter is not None
        assert (letter["stage"], bool(letter["advice"])) == (case.stage, True)
        assert case.reason in letter["reason"]
        assert letter["value"] == case.line
    else:
        assert (letter, len(rows or ())) == (None, 1)
        assert rows is not None
        assert {name: rows[0][name] for name in case.row} == case.row


def test_neighbours_are_intact_and_counts_add_up(loaded: Loaded) -> None:
    dead = sum(bool(case.stage) for case in CASES)
    taken = len(CASES) - dead
    expected = {f"neighbour {number}": number for number in range(len(CASES) + 1)}
    found = {key: [row["l"] for row in rows] for key, rows in loaded.rows.items() if key in expected}
    assert found == {key: [value] for key, value in expected.items()}
    assert len(loaded.rows) == len(expected) + taken
    assert len(loaded.letters) == dead
    assert "bad" not in loaded.rows
    counts = {
        "records": 2 * len(CASES) + 1,
        "changes": taken + len(expected),
        "no_ops": 0,
        "dead_letters": dead,
    }
    assert counts.items() <= loaded.counts.items()
    assert loaded.counts["versions"] == taken + len(expected) + 100_000
    assert loaded.strict == 1


def test_all_questions_can_be_asked_whatever_columns_are_called(loaded: Loaded) -> None:
    lake = Lake.open(loaded.folder / "lake.yaml")
    key = {"k": "odd names"}
    asked = [
        lake.asof("bonds", key=key),
        lake.timeline("bonds", key=key),
        lake.sql(
            "SELECT * FROM bonds_asof('2024-06-01', system_ := now() + INTERVAL 1 DAY) WHERE k = 'odd names'"
        ),
        lake.sql("SELECT * FROM bonds_timeline() WHERE k = 'odd names'"),
        lake.sql("SELECT * FROM bonds_current WHERE k = 'odd names'"),
    ]
    for answer in asked:
        assert answer.num_rows == 1
        assert {name: answer[name][0].as_py() for name in NAMES} == NAMES
    (piece,) = lake.diff("bonds", "2020-01-01", key=key).to_pylist()
    assert (piece["change"], piece["old"]) == ("added", None)
    assert {name: piece["new"][name] for name in NAMES} == NAMES
    assert lake.sql("SELECT count(*) AS n, sum(p) AS s FROM bonds__calls").to_pylist() == [
        {"n": 100_000, "s": 4_999_950_000}
    ]


def test_a_record_of_64_mb(folder: Path, monkeypatch: pytest.MonkeyPatch, bitlake: Run) -> None:
    lines = ['{"k":"big","v":"2024-01-01","s":"' + "x" * (64 << 20) + '"}', '{"k":"next","v":"2024-01-01"}']
    expected = {"k": 2, "s": 64 << 20}
    assert (
        answer(folder, monkeypatch, bitlake, "big", lines, "count(*) AS k, max(length(s)) AS s") == expected
    )


def test_new_columns_of_one_record(folder: Path, monkeypatch: pytest.MonkeyPatch, bitlake: Run) -> None:
    lines = [f'{{"k":"A","v":"2024-01-01",{",".join(f"{chr(34)}n{i}{chr(34)}:{i}" for i in range(1_000))}}}']
    query = "count(*) AS k, max(n0) AS first, max(n999) AS last"
    expected = {"k": 1, "first": 0, "last": 999}
    assert answer(folder, monkeypatch, bitlake, "wide", lines, query) == expected


def test_new_columns_of_many_records(folder: Path, monkeypatch: pytest.MonkeyPatch, bitlake: Run) -> None:
    lines = [f'{{"k":"{i}","v":"2024-01-01","n{i}":{i}}}' for i in range(300)]
    query = "count(*) AS k, count(n0) AS first, max(n0) AS n0, count(n299) AS last, max(n299) AS n299"
    expected = {"k": 300, "first": 1, "n0": 0, "last": 1, "n299": 299}
    assert answer(folder, monkeypatch, bitlake, "tall", lines, query) == expected


def test_keys_made_to_collide(folder: Path, monkeypatch: pytest.MonkeyPatch, bitlake: Run) -> None:
    # Java's hash of them all is the same, as is any that adds up bytes.
    keys = ["".join(key) for key in itertools.product(("Aa", "BB"), repeat=13)]
    lines = [f'{{"k":"{key}","v":"2024-01-01"}}' for key in keys]
    assert answer(folder, monkeypatch, bitlake, "same", lines, "count(DISTINCT k) AS k") == {"k": len(keys)}


def answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch, bitlake: Run, name: str, lines: list[str], columns: str
) -> Any:
    """What a query of a dataset answers once these records are loaded, each of which is a change."""
    place = folder / name
    place.mkdir()
    (place / "lake.yaml").write_text(LAKE)
    (place / "records.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(place)
    done = bitlake("load", "plain", "records.jsonl", "--output", "json").json
    assert (done["records"], done["changes"], done["dead_letters"]) == (len(lines), len(lines), 0)
    return bitlake("sql", f"SELECT {columns} FROM plain", "--output", "json").json[0]


STAMP = '"timestamp":"2024-01-01T00:00:00Z"'
VALUE = '"value":{"change":"A","valid":1,"_edge":2,"a b":3,"v":"2024-01-01","x":1}'
ENVELOPES = [
    ("not json", "json", "not JSON"),
    ("null", "json", "is null"),
    ("{}", "envelope", "timestamp is missing"),
    (f"{{{VALUE}}}", "envelope", "timestamp is missing"),
    (f'{{"timestamp":null,{VALUE}}}', "envelope", "timestamp is missing"),
    (f'{{"timestamp":"soon",{VALUE}}}', "envelope", "not a date or timestamp"),
    (f'{{"timestamp":17,{VALUE}}}', "envelope", "another type"),
    (f'{{"timestamp":"2016-12-31T23:59:60Z",{VALUE}}}', "envelope", "leap second"),
    (f'{{"timestamp":"9999-12-31T23:59:59.999999Z",{VALUE}}}', "envelope", "no end"),
    (f"{{{STAMP}}}", "envelope", "value is missing"),
    (f'{{{STAMP},"value":7}}', "json", "not an object"),
    (f'{{{STAMP},"value":"{{}}"}}', "json", "not an object"),
    (f"{{{STAMP},{VALUE},{VALUE}}}", "json", "twice"),
    (f'{{{STAMP},"value":null}}', "key", "missing or null"),
    (f'{{{STAMP},"key":null,"value":null}}', "key", "missing or null"),
    (f'{{{STAMP},"key":{{"change":"A"}},"value":null}}', "key", "missing or null"),
]
"""None of them may move the clock: those that come after are known from their own timestamps."""
TOMBSTONE = (
    '{"timestamp":"2024-01-03T00:00:00Z","key":{"change":"A","valid":1,"_edge":2,"a b":3},"value":null}'
)


def test_envelopes(folder: Path, monkeypatch: pytest.MonkeyPatch, bitlake: Run) -> None:
    monkeypatch.chdir(folder)
    lines = [f"{{{STAMP},{VALUE}}}"]
    for number, (line, _, _) in enumerate(ENVELOPES):
        later = VALUE.replace('"A"', f'"neighbour {number}"')
        lines += [line, f'{{"timestamp":"2024-01-02T00:00:00Z",{later}}}']
    (folder / "envelopes.jsonl").write_text("\n".join([*lines, TOMBSTONE]))
    done = bitlake("load", "odd", "--envelope", "envelopes.jsonl", "--output", "json").json
    count = len(ENVELOPES)
    assert (done["records"], done["changes"], done["dead_letters"]) == (2 * count + 2, count + 2, count)
    lake = Lake.open(folder / "lake.yaml")
    letters = bitlake("dead-letters", "list", "--output", "json", "--dataset", "odd").json
    assert [(row["value"], row["stage"]) for row in letters] == [
        (line, stage) for line, stage, _ in ENVELOPES
    ]
    assert all(case[2] in row["reason"] for case, row in zip(ENVELOPES, letters, strict=True))
    rows = lake.history("odd", key={"change": "A"}).to_pylist()
    assert [(row["valid_to"] and row["valid_to"].day, row["system_from"].day) for row in rows] == [
        (None, 1),
        (3, 3),
    ]
    assert lake.timeline("odd", system="2024-01-02T00:00:00Z").num_rows == count + 1
    pieces = lake.diff("odd", "2024-01-02T00:00:00Z").to_pylist()
    assert [
        (row["key__change"], row["valid"], row["_edge"], row["a b"], row["change"]) for row in pieces
    ] == [("A", "1", "2", "3", "removed")]
    assert lake.sql("SELECT * FROM odd_asof('2024-06-01') WHERE change <> 'A'").num_rows == count


def files() -> dict[str, tuple[bytes, int, str]]:
    """Contents, with how many records they have, or -1 and what is told."""
    lines = b"".join(b'{"k":"file %d","v":"2024-01-01","x":"%d"}\n' % (i, i * 7919) for i in range(5_000))
    packed, zstd = gzip.compress(lines), zstandard.compress(lines)
    return {
        "empty.jsonl": (b"", 0, ""),
        "bom.jsonl": (b"\xef\xbb\xbf", 0, ""),
        "newline.jsonl": (b"\n", 1, ""),
        "crlf.jsonl": (lines[:80].replace(b"\n", b"\r\n"), 2, ""),
        "whole.jsonl.gz": (packed, 5_000, ""),
        "whole.jsonl.zst": (zstd, 5_000, ""),
        "cut.jsonl.gz": (packed[: len(packed) // 2], -1, "cut off"),
        "cut.jsonl.zst": (zstd[: len(zstd) // 2], -1, "cut off"),
        "broken.gz": (b"\x1f\x8bthis is no gzip", -1, "damaged"),
        "wide.jsonl": ("{}".encode("utf-16"), -1, "UTF-16"),
        "rows.parquet": (b"PAR1\x15 and so on", -1, "Parquet"),
    }


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bitlake: Run) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lake.yaml").write_text(LAKE)
    for name, (content, records, told) in files().items():
        Path(name).write_bytes(content)
        result = bitlake("load", "plain", name, "--output", "json")
        assert (result.status, told in result.err) == (int(records < 0), True), name
        assert records < 0 or result.json["records"] == records
    assert bitlake("sql", "SELECT count(*) AS n FROM plain_current", "--output", "json").json == [
        {"n": 5_000}
    ]


WRONG = [
    (("load", "bond", "a.jsonl"), 1, "Did you mean 'bonds'"),
    (("load", "bonds", "missing.jsonl"), 1, "there is no file"),
    (("load", "bonds", "."), 1, "directory"),
    (("load", "bonds", "a.jsonl", "--bogus"), 2, "No such option"),
    (("asof", "bonds", "--valid", ""), 2, "not a moment"),
    (("asof", "bonds", "--valid", "10000-01-01"), 2, "not a moment"),
    (("asof", "bonds", "--system", "0000-00-00"), 2, "not a moment"),
    (("diff", "bonds", "--from", "2024-01-01", "--to", ""), 2, "not a moment"),
    (("history", "bonds", "--key", "=x"), 2, "column=value"),
    (("history", "bonds", "--key", "l=1"), 1, "not a key column"),
    (("history", "bonds__calls", "--key", "c"), 2, "column=value"),
    (("sql", "SELECT"), 1, "DuckDB refuses"),
    (("sql", ""), 0, ""),
    (("status", "-c", "missing.yaml"), 1, "bitlake init"),
]


@pytest.mark.parametrize(("words", "status", "told"), WRONG)
def test_wrong_words(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, bitlake: Run, words: list[str], status: int, told: str
) -> None:
    monkeypatch.chdir(loaded.folder)
    result = bitlake(*words)
    assert (result.status, told in " ".join(result.err.split())) == (status, True)
    assert "Traceback" not in result.err
    assert "fault of bitlake" not in result.err


MANY = 200_000


@pytest.fixture
def begun(tmp_path: Path, forks: Forks) -> Child:
    """A load of many keys, which has committed an epoch and goes on."""
    (tmp_path / "lake.yaml").write_text(LAKE)
    with (tmp_path / "many.jsonl").open("w") as file:
        file.writelines(f'{{"k":"K{i}","v":"2024-01-01","x":{i}}}\n' for i in range(MANY))
    return start(forks, tmp_path, "load", "plain", "many.jsonl")


def until(condition: Callable[[], bool], process: Child) -> None:
    """Wait for a condition, as long as the process lives."""
    while not condition():
        assert not process.ends_within(0.02), process.communicate()


def test_an_interrupted_load_goes_on(
    begun: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bitlake: Run
) -> None:
    until(lambda: len(list((tmp_path / "warehouse").rglob("snap-*.avro"))) > 1, begun)
    begun.send_signal(signal.SIGINT)
    _, told = begun.communicate()
    assert (begun.returncode, b"Traceback" in told) == (130, False)
    monkeypatch.chdir(tmp_path)
    again = bitlake("load", "plain", "many.jsonl", "--output", "json").json
    assert 0 < again["records"] < MANY
    assert again["changes"] == again["records"]
    query = "SELECT count(*) AS n, count(DISTINCT k) AS k, sum(x) AS x FROM plain"
    expected = {"n": MANY, "k": MANY, "x": MANY * (MANY - 1) // 2}
    assert Lake.open(tmp_path / "lake.yaml").sql(query).to_pylist() == [expected]


def test_a_second_load_at_once_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bitlake: Run, forks: Forks
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lake.yaml").write_text(LAKE)
    (tmp_path / "a.jsonl").write_bytes(neighbour(1))
    first = start(forks, tmp_path, "load", "plain", "-", "--output", "json")
    first.stdin.write(neighbour(0) + b"\n")
    first.stdin.flush()
    until((tmp_path / "state" / "CURRENT").exists, first)
    second = bitlake("load", "plain", "a.jsonl", "--output", "json")
    assert second.status == 1
    assert f"open in process {first.pid}" in json.loads(second.err)["error"]
    out, _ = first.communicate()
    assert (first.returncode, json.loads(out)["changes"]) == (0, 1)
    assert bitlake("load", "plain", "a.jsonl", "--output", "json").json["changes"] == 1


def test_a_load_stopped_by_a_signal_says_where_it_goes_on(
    begun: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bitlake: Run
) -> None:
    until(lambda: len(list((tmp_path / "warehouse").rglob("snap-*.avro"))) > 1, begun)
    begun.send_signal(signal.SIGTERM)
    out, told = begun.communicate()
    assert (begun.returncode, out, b"Traceback" in told) == (143, b"", False)
    found = re.search(
        rf"([\d,]+) records .* committed. The same command goes on after line ([\d,]+) of {tmp_path}/many.jsonl",
        told.decode(),
    )
    assert found is not None, told
    assert found[1] == found[2]
    monkeypatch.chdir(tmp_path)
    again = bitlake("load", "plain", "many.jsonl", "--output", "json").json
    assert again["records"] == MANY - int(found[2].replace(",", ""))


def test_standard_input_stopped_by_a_signal(tmp_path: Path, forks: Forks) -> None:
    (tmp_path / "lake.yaml").write_text(LAKE.replace("records: 5000", "records: 2"))
    process = start(forks, tmp_path, "load", "plain", "-")
    for number in range(5):
        process.stdin.write(neighbour(number) + b"\n")
        process.stdin.flush()
    until(lambda: len(list((tmp_path / "warehouse").rglob("snap-*.avro"))) > 1, process)  # a claim, an epoch
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert process.returncode == 130
    assert b"Standard input can't be gone on with" in told
    assert b"Traceback" not in told


ALL_DEAD = ['{"k":"A"}', '{"k":"B"}', '{"v":"2024-01-01"}']


def test_a_load_that_applied_nothing_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bitlake: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lake.yaml").write_text(LAKE)
    (tmp_path / "a.jsonl").write_text("\n".join(ALL_DEAD))
    result = bitlake("load", "plain", "a.jsonl")
    assert result.status == 0
    told = " ".join(result.err.split())
    assert (
        "Nothing was applied: all 3 records are dead letters. Most often (2): valid time: valid_from (v): it"
        in told
    )
    assert "What to do: give every record the start of its valid range" in told
    assert "See them: bitlake dead-letters list --dataset plain If lake.yaml was wrong, correct it" in told
    (tmp_path / "b.jsonl").write_text("\n".join([*ALL_DEAD[2:], neighbour(1).decode()]))
    again = " ".join(bitlake("load", "plain", "b.jsonl").err.split())
    assert "1 of 2 records is a dead letter. key: plain.k: a key column is missing or null" in again
