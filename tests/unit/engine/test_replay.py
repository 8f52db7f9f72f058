"""Dead letters, and replaying them, over real tables and a real state."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.engine.dead_letters import ENVELOPE
from pipeline.errors import BadInput
from pipeline.lake import Lake
from pipeline.query.dead_letters import DeadLetters, Wanted
from pipeline.query.status import position_of
from pipeline.sink.dead_letter_table import DEAD_LETTERS
from tests.forks import Forks

STRICT = {
    "name": "bonds",
    "table": "ref.bonds",
    "key": ["isin"],
    "valid_from": "from",
    "columns": {"coupon": "decimal(5,2)"},
    "on_new_field": "dead_letter",
}
MENDED = STRICT | {"columns": {"coupon": "decimal(9,2)"}, "on_new_field": "evolve", "valid_unit": "s"}
NOT_JSON = b'{"isin": "C\xff\x00'
LINES = [
    b'{"isin": "A", "from": "2024-01-01", "coupon": "1.25"}',
    b'{"isin": "A", "from": "2024-03-01", "coupon": 12345.00}',
    b'{"isin": "B", "from": 1704067200, "coupon": 2}',
    NOT_JSON,
    b'{"isin": "A", "from": 1704067200, "coupon": "1.25"}',
    b'{"isin": "A", "from": "2024-01-01", "coupon": "1.25", "issuer": "X"}',
]
NOTHING = (0, 0, 0, 0, 0, 0)


def lake_of(folder: Path, entry: dict[str, Any], records: int = 1000) -> Lake:
    content = {"commit": {"records": records, "seconds": 3600}, "datasets": [entry]}
    (folder / "lake.yaml").write_text(json.dumps(content))
    return Lake.open(folder / "lake.yaml", {})


def load(lake: Lake, folder: Path, lines: list[bytes], **options: bool) -> tuple[int, ...]:
    file = folder / "records.jsonl"
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return lake.load_files("bonds", [file], **options).values()


def letters(lake: Lake) -> DeadLetters:
    found = lake.dead_letters()
    assert found is not None
    return found


def rows(lake: Lake) -> list[dict[str, Any]]:
    """All rows of the table of dead letters."""
    batches = lake._catalog.load_table("bitlake.dead_letters").scan().to_arrow()
    return batches.sort_by([("epoch", "ascending"), ("offset", "ascending")]).to_pylist()


def bury(lake: Lake, **given: Any) -> None:
    """A dead letter as a Kafka source would leave it."""
    now = datetime(2024, 6, 1, tzinfo=UTC)
    row = {"id": f"bonds/bonds/{given['partition']}/{given['offset']}/1", "dataset": "bonds", "epoch": 1}
    row |= {
        "topic": "bonds",
        "timestamp": now,
        "stage": "key",
        "reason": "?",
        "system_time": now,
        "status": "dead",
    }
    lake._catalog.load_table("bitlake.dead_letters").append(pa.Table.from_pylist([row | given], DEAD_LETTERS))


@pytest.fixture
def mended(tmp_path: Path) -> Lake:
    """A lake with five dead letters, whose lake.yaml was mended so that one of them is one still."""
    assert load(lake_of(tmp_path, STRICT), tmp_path, LINES) == (6, 1, 0, 5, 1, 1)
    return lake_of(tmp_path, MENDED)


def test_letters_hold_what_is_known(mended: Lake) -> None:
    dead = rows(mended)
    assert [row["value"] for row in dead] == LINES[1:]
    assert [row["id"] for row in dead] == [f"bonds/bonds/0/{offset}/1" for offset in range(1, 6)]
    assert {row["stage"] for row in dead} == {"column", "valid time", "json", "new field"}
    assert dead[2]["reason"] == "not UTF-8, at byte 11"
    assert all(row["advice"] and row["status"] == "dead" and row["headers"] is None for row in dead)


def test_reasons_name_the_paths_of_times_and_operation(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, STRICT | {"valid_to": "valid_to", "operation": "meta.action"})
    head = b'{"isin": "A", "from": "2024-01-01", '
    lines = [
        b'{"isin": "A", "from": "soon"}',
        head + b'"valid_to": "never"}',
        head + b'"meta": {"action": "upsert"}}',
        head + b'"coupon": "x"}',
    ]
    load(lake, tmp_path, lines)
    assert [row["reason"].partition(", at byte")[0] for row in rows(lake)] == [
        "valid_from (from): not a date or timestamp",
        "valid_to: not a date or timestamp",
        "operation (meta.action): not an operation",
        "bonds.coupon: not a number",
    ]


def test_replay_applies_marks_and_leaves_the_rest(mended: Lake) -> None:
    before = position_of("bonds", mended._known("bonds"))
    begun = datetime.now(UTC)
    assert before is not None

    assert mended.replay_dead_letters().values() == (5, 3, 1, 1, 4, 1)

    after = position_of("bonds", mended._known("bonds"))
    assert after is not None
    assert after.offsets == before.offsets == {0: 6}
    assert (after.epoch, after.progress) == (2, before.progress)
    assert after.clocks[0] >= begun.timestamp() * 1e6
    assert [row["value"] for row in letters(mended).waiting().to_pylist()] == [NOT_JSON]
    marks = [row for row in rows(mended) if row["status"] == "replayed"]
    assert [(row["id"], row["epoch"], row["value"]) for row in marks] == [
        (f"bonds/bonds/0/{offset}/1", 2, None) for offset in (1, 2, 4, 5)
    ]
    history = mended.history("bonds", provenance=True).to_pylist()
    new = [row for row in history if row["system_from"] >= begun]
    assert sorted({row["source_offset"] for row in new}) == [1, 2, 5]
    assert {(row["isin"], str(row["coupon"]), row["issuer"]) for row in new if row["system_to"] is None} == {
        ("A", "1.25", "X"),
        ("A", "12345.00", None),
        ("B", "2.00", None),
    }


def test_replaying_again_does_nothing(mended: Lake) -> None:
    mended.replay_dead_letters()
    before = mended.history("bonds")
    (status,) = mended.status()

    assert mended.replay_dead_letters(Wanted(ids=("bonds/bonds/0/1/1",))).values() == NOTHING
    assert mended.history("bonds") == before
    assert mended.status() == [status]


def test_one_refused_again_gets_its_new_reason(tmp_path: Path) -> None:
    load(lake_of(tmp_path, STRICT), tmp_path, LINES)
    columns = {"coupon_flag": {"path": "coupon", "type": "boolean"}}
    lake = lake_of(tmp_path, STRICT | {"valid_unit": "s", "columns": columns})
    begun, wanted = datetime.now(UTC), Wanted(ids=("bonds/bonds/0/2/1",))
    (first,) = letters(lake).waiting(wanted).to_pylist()
    assert (first["stage"], first["tries"], first["last_try"]) == ("valid time", 1, None)

    assert lake.replay_dead_letters(wanted).values() == (1, 0, 0, 1, 0, 1)

    (again,) = letters(lake).waiting(wanted).to_pylist()
    assert (again["stage"], again["status"], again["tries"]) == ("column", "dead", 2)
    assert again["reason"].startswith("bonds.coupon_flag (coupon): a value of another type")
    assert (again["value"], again["epoch"], again["system_time"]) == (
        first["value"],
        first["epoch"],
        first["system_time"],
    )
    assert again["last_try"] >= begun
    assert lake.replay_dead_letters(wanted).values() == (1, 0, 0, 1, 0, 1)
    (third,) = letters(lake).waiting(wanted).to_pylist()
    assert (third["tries"], third["last_try"] > again["last_try"]) == (3, True)
    told = [(row["status"], row["epoch"], row["value"]) for row in rows(lake) if row["id"] == first["id"]]
    assert told == [("dead", 1, first["value"]), ("refused", 2, None), ("refused", 3, None)]


def test_an_epoch_of_refused_letters_alone_moves_nothing_else(mended: Lake, tmp_path: Path) -> None:
    mended.replay_dead_letters()
    before = position_of("bonds", mended._known("bonds"))
    assert before is not None

    assert mended.replay_dead_letters().values() == (1, 0, 0, 1, 0, 1)

    after = position_of("bonds", mended._known("bonds"))
    assert after == replace(before, epoch=before.epoch + 1)
    assert load(mended, tmp_path, [b'{"isin": "B", "from": 1704067200, "coupon": 3}'])[:4] == (1, 1, 0, 0)
    assert mended.replay_dead_letters().values() == (1, 0, 0, 1, 0, 1)


def test_a_letter_is_chosen_by_its_newest_stage(mended: Lake) -> None:
    bury(mended, partition=0, offset=9, stage="column", value=b"{")
    assert mended.replay_dead_letters(Wanted(stage="column", ids=("bonds/bonds/0/9/1",))).dead_letters == 1
    assert mended.replay_dead_letters(Wanted(stage="column")).records == 1
    assert mended.replay_dead_letters(Wanted(stage="json")).records == 2


def test_only_those_wanted(mended: Lake) -> None:
    assert mended.replay_dead_letters(Wanted(ids=("bonds/bonds/0/2/1",))).values() == (1, 1, 0, 0, 1, 1)
    assert mended.replay_dead_letters(Wanted(dataset="bonds", stage="valid time")).values()[:4] == (
        1,
        0,
        1,
        0,
    )
    assert [row["offset"] for row in letters(mended).waiting().to_pylist()] == [1, 3, 5]
    with pytest.raises(BadInput, match="no dead letter 'x'"):
        mended.replay_dead_letters(Wanted(ids=("x",)))
    with pytest.raises(BadInput, match="no dataset"):
        mended.replay_dead_letters(Wanted(dataset="shares"))


def test_a_load_goes_on_after_a_replay(mended: Lake, tmp_path: Path) -> None:
    mended.replay_dead_letters()
    assert load(mended, tmp_path, [b'{"isin": "B", "from": 1704067200, "coupon": 3}'])[:4] == (1, 1, 0, 0)
    newest = mended.history("bonds", key={"isin": "B"}, provenance=True).to_pylist()[-1]
    assert (str(newest["coupon"]), newest["source_offset"], newest["system_to"]) == ("3.00", 6, None)
    starts = mended.history("bonds")["system_from"].to_pylist()
    assert newest["system_from"] == max(starts)


def test_several_epochs(tmp_path: Path) -> None:
    lines = [json.dumps({"isin": f"K{i % 50}", "from": i}).encode() for i in range(70_000)]
    assert load(lake_of(tmp_path, STRICT), tmp_path, lines)[3] == 70_000
    lake = lake_of(tmp_path, MENDED, records=30_000)
    summary = lake.replay_dead_letters()
    assert (summary.changes, summary.dead_letters, summary.epochs) == (70_000, 0, 3)
    assert letters(lake).counts() == {}


def test_envelopes_are_read_as_envelopes(tmp_path: Path) -> None:
    lines = [
        b'{"timestamp": "2020-01-01T00:00:00Z", "value": {"isin": "A", "from": "2020-01-01"}}',
        b'{"timestamp": "2020-02-01T00:00:00Z", "value": {"isin": "A", "from": 1580515200}}',
        b'{"value": {"isin": "A", "from": "2020-01-01"}}',
    ]
    assert load(lake_of(tmp_path, STRICT), tmp_path, lines, envelope=True)[3] == 2
    dead = rows(lake_of(tmp_path, MENDED))
    assert [row["headers"] for row in dead] == [ENVELOPE, ENVELOPE]
    assert [row["timestamp"] for row in dead] == [datetime(2020, 2, 1, tzinfo=UTC), None]
    assert [row["system_time"] for row in dead] == [datetime(2020, 2, 1, tzinfo=UTC)] * 2
    lake = lake_of(tmp_path, MENDED)
    bury(
        lake,
        partition=0,
        offset=9,
        headers=ENVELOPE,
        value=b'{"timestamp": "2020-03-01T00:00:00Z", "key": "A", "value": null}',
    )

    assert lake.replay_dead_letters().values()[:4] == (3, 2, 0, 1)

    found = lake.timeline("bonds").to_pylist()
    assert [str(row["valid_from"])[:10] for row in found] == ["2020-01-01", "2020-02-01"]
    assert str(found[-1]["valid_to"])[:10] == "2020-03-01"
    assert found[-1]["system_from"] > datetime(2026, 1, 1, tzinfo=UTC)


def test_messages_of_partitions_without_values(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, MENDED)
    load(lake, tmp_path, LINES[:1])
    bury(lake, partition=3, offset=8, key=b'"A"', value=None)
    bury(lake, partition=3, offset=7, key=b'"B"', value=b'{"isin": "B", "from": 0, "coupon": 1}')
    assert lake.replay_dead_letters().values()[:4] == (2, 2, 0, 0)
    found = lake.history("bonds", provenance=True).to_pylist()
    terminated = next(row for row in found if row["isin"] == "A" and row["system_to"] is not None)
    assert (terminated["closed_by_operation"], terminated["closed_by_partition"]) == ("terminate", 3)
    assert terminated["closed_by_offset"] == 8
    left = next(row for row in found if row["isin"] == "A" and row["system_to"] is None)
    assert left["valid_to"] == datetime(2024, 6, 1, tzinfo=UTC)
    other = next(row for row in found if row["isin"] == "B")
    assert (other["source_partition"], other["source_offset"]) == (3, 7)
    position = position_of("bonds", lake._known("bonds"))
    assert position is not None
    assert position.offsets == {0: 1}


def test_large_and_odd_records_stay_as_they_are(tmp_path: Path) -> None:
    large = b'{"isin": "' + b"x" * (64 << 20) + b'\xff"}'
    odd = [b"", b"\x00", bytes(b for b in range(256) if b != 10), b"\xef\xbb\xbf{}", large, b"null\r"]
    lake = lake_of(tmp_path, STRICT)
    good = LINES[0]
    assert load(lake, tmp_path, [good, *odd, good])[:4] == (8, 1, 1, 6)
    assert [row["value"] for row in rows(lake)] == odd
    found = letters(lake).waiting()["value"].to_pylist()
    assert found == odd
    assert lake.replay_dead_letters().values() == (6, 0, 0, 6, 0, 1)
    assert letters(lake).waiting()["value"].to_pylist() == odd


def test_pages_hold_each_letter_once(mended: Lake) -> None:
    whole = letters(mended).waiting().sort_by("offset")
    for page_bytes in (1, 500, 1 << 20):
        pages = list(letters(mended).pages(Wanted(dataset="bonds"), page_bytes))
        assert pa.concat_tables(pages).equals(whole.select(DEAD_LETTERS.names))
        assert whole["tries"].to_pylist() == [1] * 5
    assert len(list(letters(mended).pages(Wanted(), 1))) == 5


def replay(folder: str) -> None:
    lake_of(Path(folder), MENDED).replay_dead_letters()


def replay_what_stays_refused(folder: str) -> None:
    lake_of(Path(folder), MENDED).replay_dead_letters(Wanted(ids=("bonds/bonds/0/3/1",)))


@pytest.mark.parametrize(
    ("point", "tries"),
    [("after-intent", 2), ("after-data-file", 2), ("after-file-list", 3), ("after-last-commit", 3)],
)
def test_a_crash_in_an_epoch_of_refused_letters_alone(
    mended: Lake, tmp_path: Path, point: str, tries: int, forks: Forks
) -> None:
    replaying = "tests.unit.engine.test_replay:replay_what_stays_refused"
    assert forks.run(replaying, os.fspath(tmp_path), fault=point) == -9
    assert forks.run(replaying, os.fspath(tmp_path)) == 0
    (letter,) = letters(mended).waiting(Wanted(ids=("bonds/bonds/0/3/1",))).to_pylist()
    assert letter["tries"] == tries
    assert [row["epoch"] for row in rows(mended) if row["status"] == "refused"] == list(range(2, tries + 1))
    assert load(mended, tmp_path, LINES[:1]) == (1, 0, 1, 0, 0, 1)


@pytest.mark.parametrize("point", ["after-intent", "after-file-list", "between-commits"])
def test_a_crash_loses_and_doubles_nothing(mended: Lake, tmp_path: Path, point: str, forks: Forks) -> None:
    replaying = "tests.unit.engine.test_replay:replay"
    assert forks.run(replaying, os.fspath(tmp_path), fault=point) == -9
    assert forks.run(replaying, os.fspath(tmp_path)) == 0
    marks = [row["id"] for row in rows(mended) if row["status"] == "replayed"]
    assert sorted(marks) == [f"bonds/bonds/0/{offset}/1" for offset in (1, 2, 4, 5)]
    assert letters(mended).counts() == {"bonds": 1}
    refused = [row for row in rows(mended) if row["status"] == "refused"]
    assert {row["id"] for row in refused} == {"bonds/bonds/0/3/1"}
    # A replay that committed and died before it could say so is a try, too; one that did not commit is none.
    assert [row["epoch"] for row in refused] == ([2] if point == "after-intent" else [2, 3])
    believed = mended.timeline("bonds").sort_by("valid_from").to_pylist()
    assert [(row["isin"], str(row["coupon"])) for row in believed if row["isin"] == "A"] == [
        ("A", "1.25"),
        ("A", "12345.00"),
    ]
    assert mended.history("bonds").num_rows == 5
