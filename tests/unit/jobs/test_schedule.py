"""A job is kept to a schedule, by a clock that only the test moves."""

from datetime import UTC, datetime, timedelta

import pytest

from jobs.schedule import AGAIN, Keeper, Schedule
from pipeline.errors import BadInput, Unavailable

WEEK = """
# minute hour day month weekday   parallelism
30 5 * * 1-5    4    # before the peak
0 20 * * *      1
"""
FRIDAY = datetime(2026, 11, 27, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Cluster:
    """What is rescaled.

    Attributes:
        told: when to which parallelism.
        failures: how many times it fails before.
    """

    def __init__(self, now: datetime, parallelism: int = 1) -> None:
        self.now, self.parallelism = now, parallelism
        self.told: list[tuple[str, int]] = []
        self.failures = 0

    def rescale(self, parallelism: int) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("away")
        self.parallelism = parallelism
        self.told.append((f"{self.now:%a %H:%M}", parallelism))

    def run(self, text: str, until: datetime) -> list[tuple[str, int]]:
        """Keep it to a schedule until an instant; what was done."""
        self.told = []

        def wait(seconds: float) -> bool:
            self.now += timedelta(seconds=seconds)
            return self.now >= until

        Keeper(Schedule.parse(text), lambda: self.parallelism, self.rescale).run(lambda: self.now, wait)
        return self.told


def test_up_before_the_peak_and_down_after_it() -> None:
    assert Cluster(FRIDAY).run(WEEK, FRIDAY + timedelta(days=4)) == [
        ("Fri 05:30", 4),
        ("Fri 20:00", 1),
        ("Mon 05:30", 4),
        ("Mon 20:00", 1),
    ]


def test_a_slot_that_was_missed_is_made_up_for_once_it_starts_again() -> None:
    cluster = Cluster(at("2026-11-27 05:00"))
    assert cluster.run(WEEK, at("2026-11-27 05:29")) == []
    cluster.now = at("2026-11-27 09:17")
    assert cluster.run(WEEK, at("2026-11-27 12:00")) == [("Fri 09:17", 4)]
    assert cluster.run(WEEK, at("2026-11-27 19:00")) == []
    cluster.now = at("2026-11-30 06:00")  # the whole weekend, with two slots that would take each other back
    assert cluster.run(WEEK, at("2026-11-30 07:00")) == []


def test_between_slots_a_parallelism_set_by_hand_stays() -> None:
    cluster = Cluster(at("2026-11-27 06:00"), 4)
    keeper = Keeper(Schedule.parse(WEEK), lambda: cluster.parallelism, cluster.rescale)
    due = keeper.look(cluster.now)
    assert due == at("2026-11-27 20:00")
    cluster.rescale(2)
    assert keeper.look(due) == at("2026-11-28 20:00")
    assert cluster.parallelism == 1


def test_what_fails_is_tried_again() -> None:
    cluster = Cluster(at("2026-11-27 05:29"))
    cluster.failures = 3
    assert cluster.run(WEEK, at("2026-11-27 06:00")) == [("Fri 05:33", 4)]
    assert timedelta(minutes=1) == AGAIN


def test_the_last_of_two_lines_for_a_time_holds() -> None:
    schedule = Schedule.parse("0 * * * * 2\n0 12 * * * 3")
    holds = [schedule.slot(at(text)) for text in ("2026-11-27 11:59", "2026-11-27 12:00", "2026-11-27 13:00")]
    assert [slot.parallelism for slot in holds] == [2, 3, 2]


def test_times_are_those_of_a_zone() -> None:
    schedule = Schedule.parse("CRON_TZ=Europe/Zurich\n30 5 * * * 4")
    summer, winter = schedule.next(at("2026-07-01 00:00")), schedule.next(at("2026-12-01 00:00"))
    assert (summer.begins, winter.begins) == (at("2026-07-01 03:30"), at("2026-12-01 04:30"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no lines"),
        ("30 5 * * 4", "4 fields"),
        ("30 25 * * * 4", "line 1: Bad hour"),
        ("\n30 5 * * * many", "line 2"),
        ("30 5 * * * 0", "a parallelism of 0"),
        ("CRON_TZ=Nowhere/Land\n0 0 * * * 1", "line 1"),
    ],
)
def test_a_schedule_that_cannot_be_understood(text: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        Schedule.parse(text)


def test_waits_are_short_enough_for_a_machine_that_slept() -> None:
    cluster, waits = Cluster(at("2026-11-27 06:00"), 4), list[float]()

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return len(waits) > 3

    Keeper(Schedule.parse(WEEK), lambda: 4, cluster.rescale).run(lambda: cluster.now, wait)
    assert max(waits) <= AGAIN.total_seconds()
