"""When an answer is said not to be final, and why."""

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.lake import Lake
from pipeline.query.finality import doubt
from pipeline.sink.epoch import Position

ENTRY = {"name": "bonds", "table": "ref.bonds", "key": ["isin"], "valid_from": "from"}
PLAIN = '{"isin": "A", "from": "2024-01-01"}\n'
ENVELOPE = '{"timestamp": "2024-02-01T00:00:00Z", "value": {"isin": "A", "from": "2024-01-01"}}\n'


def position(**progress: object) -> Position:
    return Position(1, {0: 1}, {0: 100}, 99, progress)


CASES = [
    (position(finished=True, envelope=False), 100, False, None),
    (position(finished=True, envelope=False), 1000, False, None),
    (position(finished=True, envelope=False), 1001, False, "future"),
    (
        position(finished=True, envelope=True),
        100,
        False,
        "records of a time after 1970-01-01T00:00:00.000099Z",
    ),
    (position(finished=True, envelope=True), 99, False, None),
    (position(finished=True, envelope=True), 1000, True, None),
    (position(finished=False, envelope=False), 1000, True, "not finished"),
    (position(finished=False, envelope=False), 99, False, None),
    (position(), 1000, True, "may still come"),
    (position(), 99, False, None),
    (None, 1000, False, None),
]


@pytest.mark.parametrize(("at", "system", "latest", "why"), CASES)
def test_only_where_something_can_be_added(
    at: Position | None, system: int, latest: bool, why: str | None
) -> None:
    found = doubt(at, system, 1000, latest=latest)
    assert found is None if why is None else why in (found or "")


def warnings(lake: Lake, system: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "pipeline.lake"):
        lake.asof("bonds", system=system)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("envelope", [False, True])
def test_of_files(tmp_path: Path, caplog: pytest.LogCaptureFixture, envelope: bool) -> None:
    (tmp_path / "lake.yaml").write_text(json.dumps({"datasets": [ENTRY]}))
    (tmp_path / "a.jsonl").write_text(ENVELOPE if envelope else PLAIN)
    lake = Lake.open(tmp_path / "lake.yaml", {})
    lake.load_files("bonds", [tmp_path / "a.jsonl"], envelope=envelope)
    assert warnings(lake, "now", caplog) == []
    assert warnings(lake, "2024-01-31", caplog) == []
    told = warnings(lake, datetime.now(UTC).isoformat(), caplog)
    assert [("may still come" in text) for text in told] == ([True] if envelope else [])
    (future,) = warnings(lake, (datetime.now(UTC) + timedelta(days=1)).isoformat(), caplog)
    assert "in the future" in future
