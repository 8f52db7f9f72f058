"""Envelopes that are loaded as plain lines, and envelopes that come too late."""

import gzip
import json
import logging
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard

from pipeline.errors import BadInput
from pipeline.lake import Lake

RECORD = {"isin": "A", "effective": {"from": "2024-01-01"}}
TOMBSTONE = {"timestamp": "2024-01-05T00:00:00Z", "key": "Z", "value": None}
ENVELOPE = {"timestamp": "2024-01-05T00:00:00Z", "key": "A", "value": RECORD}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return lake_of(tmp_path)


def lake_of(folder: Path, **changed: str) -> Lake:
    entry = {"name": "bonds", "table": "ref.bonds", "key": ["isin"], "valid_from": "effective.from"}
    (folder / "lake.yaml").write_text(json.dumps({"datasets": [entry | changed]}))
    return Lake.open(folder / "lake.yaml", {})


def lines(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def plain(folder: Path, content: bytes) -> str:
    (folder / "records.jsonl").write_bytes(content)
    return str(folder / "records.jsonl")


def in_gzip(folder: Path, content: bytes) -> str:
    (folder / "records.jsonl.gz").write_bytes(gzip.compress(content))
    return str(folder / "records.jsonl.gz")


def in_zstd(folder: Path, content: bytes) -> str:
    (folder / "records.jsonl.zst").write_bytes(zstandard.compress(content))
    return str(folder / "records.jsonl.zst")


def pipe(_: Path, content: bytes) -> str:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as stream:
            stream.write(content)

    threading.Thread(target=write).start()
    return f"/dev/fd/{reading}"


@pytest.mark.parametrize("put", [plain, in_gzip, in_zstd, pipe])
def test_envelopes_are_refused_before_anything_is_written(lake: Lake, tmp_path: Path, put: Callable) -> None:
    content = lines(ENVELOPE)
    with pytest.raises(BadInput, match=r"effective\.from \(valid_from\) is inside of `value`") as refused:
        lake.load_files("bonds", [put(tmp_path, content)])
    assert "--envelope" in refused.value.next_step
    assert lake.dead_letters() is None or lake.dead_letters().waiting().num_rows == 0

    assert lake.load_files("bonds", [put(tmp_path, content)], envelope=True).changes == 1
    assert lake.history("bonds")["system_from"].to_pylist() == [datetime(2024, 1, 5, tzinfo=UTC)]


@pytest.mark.parametrize("before", [b"", b"\n", b"no JSON\n", b"[1]\n", lines(TOMBSTONE)])
def test_what_comes_before_the_first_record_hides_nothing(lake: Lake, tmp_path: Path, before: bytes) -> None:
    with pytest.raises(BadInput, match="envelopes"):
        lake.load_files("bonds", [plain(tmp_path, b"\xef\xbb\xbf" + before + lines(ENVELOPE, RECORD))])


def test_files_before_it_are_loaded(lake: Lake, tmp_path: Path) -> None:
    first = tmp_path / "first.jsonl"
    first.write_bytes(lines(RECORD))
    with pytest.raises(BadInput, match=r"records\.jsonl holds envelopes"):
        lake.load_files("bonds", [first, plain(tmp_path, lines(ENVELOPE))])
    assert lake.history("bonds").num_rows == 1


@pytest.mark.parametrize(
    ("valid_from", "record"),
    [
        ("effective.from", RECORD | {"timestamp": "2024-01-05", "value": RECORD}),
        ("effective.from", {"isin": "A", "effective": {"from": None}, "timestamp": "x", "value": RECORD}),
        ("effective.from", {"isin": "A", "value": RECORD}),
        ("effective.from", {"isin": "A", "timestamp": "2024-01-05", "value": {"isin": "A"}}),
        ("effective.from", {"isin": "A", "timestamp": "2024-01-05", "value": 7}),
        ("value.effective.from", ENVELOPE),
        ("timestamp", ENVELOPE | {"isin": "A", "value": {"timestamp": "2024-01-05"}}),
    ],
)
def test_a_datasets_own_records_are_not_refused(tmp_path: Path, valid_from: str, record: Any) -> None:
    lake = lake_of(tmp_path, valid_from=valid_from)
    assert lake.load_files("bonds", [plain(tmp_path, lines(record))]).records == 1


def test_later_lines_are_records_like_any_other(lake: Lake, tmp_path: Path) -> None:
    assert lake.load_files("bonds", [plain(tmp_path, lines(RECORD, ENVELOPE))]).dead_letters == 1


def test_envelopes_behind_the_clock_are_told_once(
    lake: Lake, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "pipeline.engine.envelopes")
    later = ENVELOPE | {"timestamp": "2024-02-01T00:00:00Z", "value": RECORD | {"coupon": 1}}
    lake.load_files("bonds", [plain(tmp_path, lines(ENVELOPE, later))], envelope=True)
    assert caplog.records == []

    again = tmp_path / "again.jsonl"
    again.write_bytes(lines(ENVELOPE, later, {"value": RECORD}))
    lake.load_files("bonds", [again, plain(tmp_path, lines(ENVELOPE))], envelope=True)

    (told,) = caplog.records
    assert (told.dataset, told.records, told.of_the_first) == ("bonds", 1, 3)
    assert (told.oldest, told.known_from) == ("2024-01-05T00:00:00.000000Z", "2024-02-01T00:00:00.000000Z")
