"""A checkpoint of a Flink job that some tables have and others lack is no position."""

import json

import pytest

from pipeline.sink.epoch import EPOCH, FLINK, FLINK_AHEAD, TABLES, FlinkRun, Position
from pipeline.sink.flink_positions import InPart, refuse_in_part

OWN = ["ref.a", "ref.a__b"]
SHARED = ["ref.dead_letters", "ref.flink_positions"]
START = Position(epoch=7, offsets={0: 5}, clocks={}, horizon=-1).to_summary("a") | {TABLES: json.dumps(OWN)}


def told(epoch: int, *, run: str = "r", ahead: int = 0) -> dict[str, str]:
    """What a table's newest snapshot says."""
    return {**START, EPOCH: str(epoch), FLINK: FlinkRun(run, 2, START).to_json(), FLINK_AHEAD: str(ahead)}


ALL = {name: told(9) for name in (*OWN, *SHARED)}
EMBEDDED = Position(epoch=7, offsets={}, clocks={}, horizon=-1).to_summary("a")


def test_all_tables_have_it() -> None:
    refuse_in_part(OWN, ALL)
    refuse_in_part([*OWN, "ref.a__new"], {**ALL, "ref.a__new": None})


@pytest.mark.parametrize("name", [*OWN, *SHARED])
@pytest.mark.parametrize("other", [told(8), told(9, ahead=1), told(9, run="before"), EMBEDDED, None])
def test_one_lacks_it(name: str, other: dict[str, str] | None) -> None:
    with pytest.raises(InPart, match="in part"):
        refuse_in_part(OWN, {**ALL, name: other})


@pytest.mark.parametrize("name", [*OWN, *SHARED])
def test_one_has_more(name: str) -> None:
    with pytest.raises(InPart):
        refuse_in_part(OWN, {**ALL, name: told(10)})
