"""Whether an answer about a system time may still change: the horizon, in words."""

from pipeline.query.instants import spelled
from pipeline.sink.epoch import Position


def doubt(position: Position | None, system: int, now: int, *, latest: bool) -> str | None:
    """Why belief at a system time is not final yet, or None where nothing can be added at or below it.

    Beyond the horizon that depends on who writes: lines without an envelope are known from the start of their
    load on, so that none comes below a time that has passed once the load is finished.

    Args:
        position: the dataset's; None before its first epoch.
        system: the system time in question.
        now: this moment.
        latest: the question is about now, whenever that is: then a later load is no surprise.
    """
    if position is None:
        return None
    if system <= position.horizon:
        return None
    load, of_files = position.progress, "finished" in position.progress
    if system > now:
        return "it is in the future: what is loaded until then will be part of the answer"
    if of_files and not load["finished"]:
        return "a load is not finished; it may still add to what was known then"
    if of_files and (latest or not load["envelope"]):
        return None
    return f"records of a time after {spelled(position.horizon)} may still come"
