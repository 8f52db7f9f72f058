"""Dead letters tell where their records were: file and line."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard

from pipeline.lake import Lake
from tests.forks import Forks

ENTRY = {"name": "bonds", "table": "ref.bonds", "key": ["isin"], "valid_from": "from"}
GOOD, BAD = b'{"isin": "A", "from": "2024-01-01"}', b"not JSON"


def lake_of(folder: Path, records: int = 100_000) -> Lake:
    content = {"commit": {"records": records, "seconds": 3600}, "datasets": [ENTRY]}
    (folder / "lake.yaml").write_text(json.dumps(content))
    return Lake.open(folder / "lake.yaml", {})


def places(lake: Lake) -> list[tuple[Any, Any]]:
    """File and line of all dead letters, by offset."""
    found = lake.dead_letters()
    assert found is not None
    return [(row["file"], row["line"]) for row in found.waiting().sort_by("offset").to_pylist()]


def content(*lines: bytes, end: bytes = b"\n") -> bytes:
    return b"".join(line + end for line in lines)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines_count_from_one_as_in_an_editor(tmp_path: Path, pack: Any, end: bytes) -> None:
    file = tmp_path / "records.jsonl"
    file.write_bytes(pack(b"\xef\xbb\xbf" + content(BAD, GOOD, b"", GOOD, BAD, end=end) + b"{"))
    lake = lake_of(tmp_path)
    lake.load_files("bonds", [file])
    assert places(lake) == [(str(file), line) for line in (1, 3, 5, 6)]


def test_a_file_is_told_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_bytes(content(BAD))
    monkeypatch.chdir(tmp_path)
    lake = lake_of(tmp_path)
    lake.load_files("bonds", ["in/a.jsonl", Path("in") / "a.jsonl"])
    assert places(lake) == [("in/a.jsonl", 1)] * 2


def test_several_files_count_each_by_itself_beyond_a_block(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    first.write_bytes(content(*[GOOD] * 70_000, BAD))
    second.write_bytes(gzip.compress(content(BAD, *[GOOD] * 40_000, BAD)))
    lake = lake_of(tmp_path)
    lake.load_files("bonds", [first, second])
    assert places(lake) == [(str(first), 70_001), (str(second), 1), (str(second), 40_002)]


def test_envelopes_have_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(content(b'{"timestamp": "2024-01-01T00:00:00Z", "value": {}}', BAD))
    lake = lake_of(tmp_path)
    lake.load_files("bonds", [file], envelope=True)
    assert places(lake) == [(str(file), 1), (str(file), 2)]


def load_part(folder: str) -> None:
    lake_of(Path(folder), records=1).load_files("bonds", [Path(folder) / "a.jsonl"])


def test_a_load_that_goes_on_counts_from_the_start(tmp_path: Path, forks: Forks) -> None:
    long = GOOD + b" " * (3 << 20)  # a block has one or two of them
    (tmp_path / "a.jsonl").write_bytes(content(long, BAD, long, long, long, long, BAD))
    loading = "tests.unit.engine.test_letter_lines:load_part"
    assert forks.run(loading, os.fspath(tmp_path), fault="after-state:2") == -9
    assert len(places(lake_of(tmp_path))) == 1
    assert forks.run(loading, os.fspath(tmp_path)) == 0
    lake = lake_of(tmp_path)
    assert lake.status()[0].position.offsets == {0: 7}  # type: ignore[union-attr]
    assert places(lake) == [(str(tmp_path / "a.jsonl"), 2), (str(tmp_path / "a.jsonl"), 7)]


@pytest.mark.parametrize("as_table", [False, True])
def test_records_of_python_have_their_number_alone(tmp_path: Path, as_table: bool) -> None:
    records = [{"isin": "A", "from": "2024-01-01"}, {"isin": None, "from": "x"}, {"isin": "B", "from": "x"}]
    lake = lake_of(tmp_path)
    lake.load("bonds", pa.Table.from_pylist(records) if as_table else iter(records))
    assert places(lake) == [(None, 2), (None, 3)]


def test_standard_input_is_a_dash(tmp_path: Path, forks: Forks) -> None:
    lake = lake_of(tmp_path)
    process = forks.start("tests.unit.engine.test_letter_lines:load_standard_input", os.fspath(tmp_path))
    process.stdin.write(content(GOOD, BAD))
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert places(lake) == [("-", 2)]


def load_standard_input(folder: str) -> None:
    lake_of(Path(folder)).load_files("bonds", ["-"])


def test_a_name_that_is_not_text_is_told_as_far_as_it_is(tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jsonl"))
    file.write_bytes(content(BAD))
    lake = lake_of(tmp_path)
    lake.load_files("bonds", [file])
    assert places(lake) == [(f"{tmp_path}/\ufffd.jsonl", 1)]
