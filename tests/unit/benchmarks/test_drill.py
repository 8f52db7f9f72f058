"""What `bench drill` makes of what it measured."""

from datetime import UTC, datetime
from typing import Any

import pytest

from benchmarks.drill import Scaling, report
from jobs.schedule import Schedule


@pytest.mark.parametrize(
    "up", [datetime(2026, 11, 29, 5, 30, tzinfo=UTC), datetime(2026, 2, 1, 23, 58, tzinfo=UTC)]
)
def test_the_schedule(up: datetime) -> None:
    scaling = Scaling(low=1, high=4, minutes=5)
    schedule = Schedule.parse(scaling.lines(up))
    assert schedule.slot(up.replace(second=0, minute=up.minute - 1)).parallelism == 1
    assert (schedule.slot(up).begins, schedule.slot(up).parallelism) == (up, 4)
    later = schedule.next(up)
    assert ((later.begins - up).total_seconds(), later.parallelism) == (300, 1)


def test_the_page() -> None:
    scaled: dict[str, Any] = {"parallelism": 2, "seconds_after_due": 14.25, "outage_seconds": 6.25}
    result = {
        "machine": {"cpu": "a", "cores": 2, "load_before": 0.1, "memory_bytes": 1 << 34, "system": "Linux 6"},
        "versions": {"python": "3"},
        "conditions": {"checkpoint_interval": "10s"},
        "scale_up": scaled,
        "burst": {"records": 1_000_000, "sending_seconds": 5.0},
        "visible_seconds": 17.0,
        "committed_seconds": 15.0,
        "cpu_seconds": {"flink-taskmanager": 30.5},
        "scale_down": scaled | {"parallelism": 1},
        "sent": 1_000_104,
        "committed": 1_000_104,
    }
    page = report(result)
    assert "| all committed, from the burst's begin | 20.0 |" in page
    assert "| last records visible in Trino, from their timestamps | 17.0 |" in page
    assert "50,000" in page
    assert "flink-taskmanager 30.5" in page
