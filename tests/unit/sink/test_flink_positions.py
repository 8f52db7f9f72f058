"""The position of a Flink job: none where some tables lack a checkpoint, else what its rows say."""

import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from pipeline.sink.epoch import EPOCH, FLINK, FLINK_AHEAD, TABLES, FlinkRun, Position
from pipeline.sink.flink_positions import POSITIONS, InPart, moved, refuse_in_part

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


def rows(*found: tuple[int, int, int, int | None]) -> pa.Table:
    """Checkpoints, partitions, offsets and clocks."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    columns = zip(
        *(
            ("a", "r", *one[:3], None if one[3] is None else epoch + timedelta(microseconds=one[3]))
            for one in found
        ),
        strict=True,
    )
    return pa.Table.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, POSITIONS, strict=True)], schema=POSITIONS
    )


@pytest.mark.parametrize(
    ("found", "horizon"),
    [
        ([(1, 0, 7, 500)], 99),
        ([(1, 0, 7, 500), (1, 1, 4, None)], 99),
        ([(1, 0, 7, 500), (1, 1, 4, 300)], 299),
        ([(1, 0, 7, 500), (1, 1, 4, 300), (2, 1, 5, 600)], 499),
        ([(1, 0, 7, 500), (1, 1, 4, 300), (3, 1, 5, 600)], 299),
    ],
)
def test_the_horizon_is_the_least_clock_of_the_topics_partitions(
    found: list[tuple[int, int, int, int | None]], horizon: int
) -> None:
    """Partition -1 are files that were loaded before: nothing more comes of them."""
    start = Position(epoch=7, offsets={-1: 9, 0: 5, 1: 3}, clocks={-1: 100, 0: 200}, horizon=99, topic_id="t")
    now = moved(start, rows(*found), 2)
    assert now.horizon == horizon
    assert now.offsets[-1] == 9
