from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.demo.picture import draw, picture, versions_of
from pipeline.errors import BadInput

END = datetime(9999, 12, 31, tzinfo=UTC)


def instant(day: int) -> datetime:
    return datetime(2026, 1, day, 9, tzinfo=UTC)


def rows(valid_end: object = None, system_end: object = None) -> pa.Table:
    """The example of design.md: A from 1, B from 10, then C from 5, late."""
    t1, t2, t3 = instant(1), instant(2), instant(3)
    versions = [
        ("1.00", 1, None, t1, t2),
        ("1.00", 1, 10, t2, t3),
        ("2.500", 10, None, t2, None),
        ("1.00", 1, 5, t3, None),
        ("3.25", 5, 10, t3, None),
    ]
    return pa.table(
        {
            "value": pa.array([Decimal(v[0]) for v in versions], pa.decimal128(9, 6)),
            "valid_from": [date(2026, 1, v[1]) for v in versions],
            "valid_to": pa.array([date(2026, 1, v[2]) if v[2] else valid_end for v in versions], pa.date32()),
            "system_from": pa.array([v[3] for v in versions], pa.timestamp("us", "UTC")),
            "system_to": pa.array([v[4] or system_end for v in versions], pa.timestamp("us", "UTC")),
        }
    )


def rectangles(versions):
    figure = picture(versions, title="t")
    return [p for p in figure.axes[0].patches if p.get_gid() == "version"]


def test_one_rectangle_per_version_and_they_do_not_overlap():
    boxes = [r.get_bbox() for r in rectangles(versions_of(rows(), "value"))]

    assert len(boxes) == 5
    area = sum(b.width * b.height for b in boxes)
    columns = max(b.x1 for b in boxes)
    lines = max(b.y1 for b in boxes)
    assert area == pytest.approx(columns * lines)


def test_values_read_alike():
    assert [v.label for v in versions_of(rows(), "value")] == ["1.00", "1.00", "2.50", "1.00", "3.25"]


def test_the_tables_end_of_time_is_no_end():
    assert versions_of(rows(date(9999, 12, 31), END), "value") == versions_of(rows(), "value")


def test_draw_saves_a_png(tmp_path: Path):
    draw(rows(), tmp_path / "p.png", label="value", title="A key")

    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_one_version_and_instants_as_valid_time_make_a_picture():
    one = pa.table(
        {
            "value": ["x"],
            "valid_from": pa.array([instant(1)], pa.timestamp("us", "UTC")),
            "valid_to": pa.array([None], pa.timestamp("us", "UTC")),
            "system_from": pa.array([instant(1)], pa.timestamp("us", "UTC")),
            "system_to": pa.array([None], pa.timestamp("us", "UTC")),
        }
    )

    assert len(rectangles(versions_of(one, "value"))) == 1


def test_no_versions_or_no_such_column_is_told():
    with pytest.raises(BadInput, match="0 versions"):
        versions_of(rows().slice(0, 0), "value")
    with pytest.raises(BadInput, match="no column 'price'"):
        versions_of(rows(), "price")
