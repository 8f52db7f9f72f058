"""A schedule of parallelisms: cron lines, and what keeps a job to them.

# minute hour day month weekday   parallelism
CRON_TZ=Europe/Zurich
30 5 * * 1-5                      4
0 20 * * *                        1
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from pipeline.errors import BadInput, BitlakeError

log = logging.getLogger(__name__)

AGAIN = timedelta(minutes=1)
"""After a failure it is tried again."""
_ZONE = "CRON_TZ="


@dataclass(frozen=True)
class Line:
    """From each time that a cron expression names, the job has a parallelism."""

    cron: str
    parallelism: int


@dataclass(frozen=True)
class Slot:
    """When a parallelism begins."""

    begins: datetime
    parallelism: int


@dataclass(frozen=True)
class Schedule:
    """Cron lines.

    Attributes:
        lines: of several that name the same time, the last one holds.
        zone: whose clock they mean.
    """

    lines: tuple[Line, ...]
    zone: tzinfo = UTC

    @staticmethod
    def read(file: Path) -> "Schedule":
        """Read a file of them.

        Raises:
            BadInput: it has no lines, or one can't be understood.
        """
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            raise BadInput(f"{file}: {error.strerror}", next_step="name a file that can be read") from error
        except UnicodeDecodeError as error:
            raise BadInput(f"{file} is not UTF-8: {error}", next_step="save it as UTF-8") from error
        return Schedule.parse(text, str(file))

    @staticmethod
    def parse(text: str, name: str = "schedule") -> "Schedule":
        """The schedule in a text; `name` is for errors."""
        lines, zone = list[Line](), UTC
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.partition("#")[0].split()
            try:
                if len(words) == 1 and words[0].startswith(_ZONE):
                    zone = ZoneInfo(words[0].removeprefix(_ZONE))  # type: ignore[assignment]
                elif words:
                    lines.append(_line(words))
            except (CronSimError, ValueError, ZoneInfoNotFoundError) as error:
                raise BadInput(
                    f"{name}, line {number}: {error}",
                    next_step="five fields as cron has them, then the parallelism: `30 5 * * 1-5  4`",
                ) from error
        if not lines:
            raise BadInput(f"{name} has no lines", next_step="add one: `30 5 * * 1-5  4`")
        return Schedule(tuple(lines), zone)

    def slot(self, now: datetime) -> Slot:
        """The slot that holds at an instant."""
        after = now + timedelta(microseconds=1)
        found = [self._nearest(line, after, reverse=True) for line in reversed(self.lines)]
        return max(found, key=lambda slot: slot.begins)

    def next(self, now: datetime) -> Slot:
        """The next slot after an instant."""
        found = [self._nearest(line, now, reverse=False) for line in reversed(self.lines)]
        return min(found, key=lambda slot: slot.begins)

    def _nearest(self, line: Line, now: datetime, *, reverse: bool) -> Slot:
        begins = next(CronSim(line.cron, now.astimezone(self.zone), reverse=reverse))
        return Slot(begins.astimezone(UTC), line.parallelism)


def _line(words: list[str]) -> Line:
    *fields, parallelism = words
    if len(fields) != 5:
        raise ValueError(f"{len(fields)} fields and a parallelism, not five")
    if int(parallelism) < 1:
        raise ValueError(f"a parallelism of {parallelism}")
    CronSim(" ".join(fields), datetime(2000, 1, 1, tzinfo=UTC))
    return Line(" ".join(fields), int(parallelism))


class Keeper:
    """Keeps a job to a schedule.

    It remembers nothing: what should hold now is read from the schedule, what holds from the job. So it may
    be started again at any time, and makes up for slots that it missed.

    Args:
        schedule: the parallelisms.
        current: tells the job's.
        rescale: changes it.
    """

    def __init__(
        self, schedule: Schedule, current: Callable[[], int], rescale: Callable[[int], None]
    ) -> None:
        self._schedule, self._current, self._rescale = schedule, current, rescale

    def look(self, now: datetime) -> datetime:
        """Give the job the parallelism that should hold; when to look next."""
        slot, due = self._schedule.slot(now), self._schedule.next(now).begins
        log.info("as of %s: parallelism %d; next look at %s", slot.begins, slot.parallelism, due)
        try:
            before = self._current()
            if before != slot.parallelism:
                log.info("parallelism %d to %d, as of %s", before, slot.parallelism, slot.begins.isoformat())
                self._rescale(slot.parallelism)
        except BitlakeError as error:
            log.error("not rescaled to %d, to be tried again: %s", slot.parallelism, error)
            return min(due, now + AGAIN)
        return due

    def run(self, clock: Callable[[], datetime], wait: Callable[[float], bool]) -> None:
        """Look whenever it is due, until told to stop.

        Args:
            clock: tells the time.
            wait: waits so many seconds, or less; whether to stop.
        """
        due = clock()
        while True:
            left = (due - clock()).total_seconds()
            if left <= 0:
                due = self.look(clock())
            # In parts: a machine that slept, or whose clock was set, is not late for longer than this.
            elif wait(min(left, AGAIN.total_seconds())):
                return
