"""Instants and days as people give them."""

import re
from datetime import UTC, date, datetime

from pipeline.errors import BadInput
from pipeline.schema import END_OF_TIME_DAY, END_OF_TIME_US

Moment = str | date | datetime
"""ISO text (a date, or a timestamp; UTC where it has no offset), ``now``, or Python's own objects."""

DAY_US = 86_400_000_000
LATEST = END_OF_TIME_US - 1
"""The system time after everything that is in the tables."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANOSECONDS = re.compile(r"(\.\d{6})\d+")


def instant(moment: Moment) -> int:
    """Microseconds since 1970 of a moment; a date is its midnight in UTC.

    Raises:
        BadInput: the text is no moment.
    """
    if isinstance(moment, str):
        moment = _parsed(moment)
    if not isinstance(moment, datetime):
        return (moment.toordinal() - _EPOCH.toordinal()) * DAY_US
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return min((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds, LATEST)


def day(moment: Moment) -> int:
    """Days since 1970 of a moment's UTC day."""
    return min(instant(moment) // DAY_US, END_OF_TIME_DAY - 1)


def _parsed(text: str) -> datetime:
    text = text.strip()
    if text.lower() == "now":
        return datetime.now(UTC)
    try:
        return datetime.fromisoformat(_NANOSECONDS.sub(r"\1", text))
    except ValueError as error:
        raise BadInput(
            f"'{text}' is not a moment",
            next_step="write a date (2024-01-31), a timestamp (2024-01-31T12:00:00Z) or now",
        ) from error


def spelled(us: int) -> str:
    """A moment as answers spell it: ``2024-01-31T00:00:00.000000Z``."""
    at = datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000, tzinfo=None)
    return at.isoformat(timespec="microseconds") + "Z"


def us_sql(us: int) -> str:
    """A moment as an SQL literal of DuckDB."""
    return f"make_timestamptz({us})"


def day_sql(days: int) -> str:
    """A day as an SQL literal."""
    return f"DATE '{date.fromordinal(days + _EPOCH.toordinal()).isoformat()}'"
