"""Values and names that once stopped a dataset, or its answers, from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

LAKE: dict[str, Any] = {
    "catalog": {"name": "lake", "type": "sql", "uri": "sqlite:///catalog.db", "warehouse": "warehouse"},
}
DATASET = {"name": "d", "table": "t.d", "key": ["id"], "valid_from": "from", "valid_time": "date"}
CASES = {
    "a name that is not ASCII": (
        {"key": ["währung"], "partition_by": ["bucket(8, währung)"]},
        [{"währung": "CHF", "from": "2024-01-01", "kurs": "0.95"}],
    ),
    "an upper bound beside the surrogates": (
        {},
        [
            {"id": "good", "from": "2024-01-01", "s": "fine"},
            {"id": "bad", "from": "2024-01-01", "s": "\ud55c" * 15 + "\ud7ff."},
        ],
    ),
    "a long value": (
        {"columns": {"issuer": "string"}, "partition_by": ["issuer"]},
        [
            {"id": "good", "from": "2024-01-01", "issuer": "short"},
            {"id": "bad", "from": "2024-01-01", "issuer": "Ä" * 42},
        ],
    ),
    "a UUID": (
        {"columns": {"u": "uuid"}, "partition_by": ["u"]},
        [{"id": "a", "from": "2024-01-01", "u": "00000000-0000-0000-0000-000000000007"}],
    ),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, changed: dict[str, Any], records: list[dict[str, Any]]) -> None:
    (folder / "lake.yaml").write_text(json.dumps(LAKE | {"datasets": [DATASET | changed]}))
    (folder / "r.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.mark.parametrize("name", CASES)
def test_it_is_loaded_and_answered(name: str, folder: Path, bitlake) -> None:
    changed, records = CASES[name]
    write(folder, changed, records)
    assert bitlake("config", "check").status == 0
    loaded = bitlake("load", "d", "r.jsonl", "--output", "json")
    assert loaded.status == 0, loaded.err
    assert json.loads(loaded.out.splitlines()[-1])["changes"] == len(records)
    answer = bitlake("timeline", "d", "--output", "json")
    wanted = [{k: v for k, v in record.items() if k != "from"} for record in records]
    given = [{k: row[k] for k in wanted[0]} for row in answer.json]
    assert sorted(given, key=str) == sorted(wanted, key=str)
    assert "panicked" not in answer.err
    counted = bitlake("sql", "select count(*) as n from d", "--output", "json")
    assert counted.json == [{"n": len(records)}]


def test_a_number_too_small_and_a_taken_name_are_dead_letters(folder: Path, bitlake) -> None:
    records = [
        {"id": "a", "from": "2024-01-01", "n": 7},
        {"id": "b", "from": "2024-01-01", "n": -(2**63)},
        {"id": "c", "from": "2024-01-01", "n": 8, "N_Trunc": "taken"},
    ]
    write(folder, {"columns": {"n": "long"}, "partition_by": ["truncate(10, n)"]}, records)
    loaded = bitlake("load", "d", "r.jsonl", "--output", "json")
    assert json.loads(loaded.out.splitlines()[-1])["dead_letters"] == 2
    letters = bitlake("dead-letters", "list", "--output", "json").json
    assert [letter["offset"] for letter in letters] == [1, 2]
    assert "d.n: a number too small to be truncated for its partition" in letters[0]["reason"]
    assert "its column's name is taken" in letters[1]["reason"]


def test_a_warehouse_with_too_long_a_name_is_no_outage(folder: Path, bitlake) -> None:
    write(folder, {}, [{"id": "a", "from": "2024-01-01"}])
    lake = json.loads((folder / "lake.yaml").read_text())
    lake["catalog"]["warehouse"] = "x" * 300
    (folder / "lake.yaml").write_text(json.dumps(lake))
    result = bitlake("load", "d", "r.jsonl", "--output", "json")
    told = json.loads(result.err.splitlines()[-1])
    assert result.status == 1
    assert told["category"] == "bad configuration"
    assert told["retryable"] is False
    assert "shorter" in told["next_step"]


def test_a_panic_is_told_as_a_fault_of_ours(folder: Path, bitlake, monkeypatch) -> None:
    class PanicException(BaseException):
        """As pyo3's, by name."""

    def panic(*_: object, **__: object) -> None:
        raise PanicException("called `Result::unwrap()` on an `Err` value")

    write(folder, {}, [])
    monkeypatch.setattr("pipeline.lake.Lake.open", panic)
    result = bitlake("timeline", "d", "--output", "json")
    assert result.status == 1
    assert json.loads(result.err)["category"] == "fault of ours"
