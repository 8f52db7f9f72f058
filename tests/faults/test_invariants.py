"""The checks themselves find what is wrong, and the page says what the tests prove."""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyiceberg.table import Table

from tests import invariants, matrix
from tests.faults.stories import Story
from tests.forks import Forks
from tests.invariants import Evidence


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> Story:
    told = Story(tmp_path_factory.mktemp("story"), forks, 91)
    told.ends_well()
    return told


@pytest.fixture
def evidence(story: Story) -> Callable[[], Evidence]:
    tables = story.place.lake.tables
    return lambda: Evidence(story.place.catalog, "bonds", tables, "bitlake.dead_letters")


def one(rows: pa.Table, closed: bool) -> pa.Table:
    return rows.filter(
        pc.is_valid(rows["closed_by_offset"]) if closed else pc.is_null(rows["closed_by_offset"])
    )[:1]


def again(rows: pa.Table) -> pa.Table:
    """The same version twice."""
    return one(rows, closed=False)


def shifted(rows: pa.Table) -> pa.Table:
    """A version that overlaps another, from the same change."""
    row = pc.subtract(one(rows, closed=False)["valid_from"], pa.scalar(1, pa.duration("us")))
    return one(rows, closed=False).set_column(
        rows.schema.get_field_index("valid_from"), rows.schema.field("valid_from"), row
    )


def earlier(rows: pa.Table) -> pa.Table:
    """A version from before the first horizon."""
    row = pa.array([1], pa.timestamp("us", "UTC"))
    return one(rows, closed=False).set_column(
        rows.schema.get_field_index("system_from"), rows.schema.field("system_from"), row
    )


@pytest.mark.parametrize(
    ("forge", "check"),
    [
        (again, invariants.versions_once),
        (shifted, invariants.disjoint),
        (earlier, invariants.monotone),
        (earlier, invariants.final),
    ],
    ids=lambda value: value.__name__,
)
def test_forged_rows_are_found(
    forge: Callable[[pa.Table], pa.Table],
    check: Callable[[Evidence], None],
    story: Story,
    evidence: Callable[[], Evidence],
) -> None:
    table: Table = story.place.catalog.load_table("ref.bonds")
    check(evidence())
    before = table.current_snapshot()
    assert before is not None
    table.append(forge(table.scan().to_arrow()))
    try:
        with pytest.raises(AssertionError):
            check(evidence())
    finally:
        table.manage_snapshots().rollback_to_snapshot(before.snapshot_id).commit()


def test_a_lost_record_is_found(story: Story, evidence: Callable[[], Evidence]) -> None:
    invariants.adds_up(evidence(), no_ops=story.model.no_ops)
    with pytest.raises(AssertionError):
        invariants.adds_up(evidence(), no_ops=story.model.no_ops - 1)


def test_an_epoch_that_is_missing_is_found(story: Story, evidence: Callable[[], Evidence]) -> None:
    found = evidence()
    invariants.offsets_once(found)
    del found.parent.epochs[1]
    with pytest.raises(AssertionError):
        invariants.offsets_once(found)


def test_the_page_is_current(claims: matrix.Claims) -> None:
    assert matrix.PAGE.read_text() == matrix.page(claims.cases, claims.tests), "run python -m tests.matrix"


def test_the_page_about_pairs_of_writers_is_current(claims: matrix.Claims) -> None:
    assert matrix.FENCING_PAGE.read_text() == matrix.fencing_page(claims.meetings), (
        "run python -m tests.matrix"
    )
