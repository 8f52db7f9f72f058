"""Operations, and what a person should know about a sample."""

from pipeline.infer import names
from pipeline.infer.fields import Path, Table
from pipeline.infer.sample import Sample
from pipeline.infer.times import Time, is_inclusive

_OPERATIONS = {"put", "patch", "delete", "terminate", "retract"}
_FOREIGN = {
    "insert",
    "update",
    "upsert",
    "create",
    "remove",
    "cancel",
    "i",
    "u",
    "d",
    "c",
    "r",
    "new",
    "correct",
}


def find_operation(table: Table) -> tuple[Path | None, str, list[str]]:
    """The field of operations, why, and notes about fields that may be meant as one."""
    notes: list[str] = []
    for found in table.fields.values():
        if found.kinds != {str} or found.distinct > 12:
            continue
        values = set(found.present)
        seen = ", ".join(sorted(values))
        if values <= _OPERATIONS and (names.says_operation(found.path) or len(values) > 1):
            return found.path, f"values seen: {seen}", notes
        if names.says_operation(found.path) and {value.lower() for value in values} <= _OPERATIONS | _FOREIGN:
            notes.append(
                f"'{'.'.join(found.path)}' looks like an operation, but has {seen}: write put, patch,"
            )
            notes.append("delete, terminate or retract there, and declare it as `operation`")
    return None, "", notes


def time_notes(times: list[Time], start: Time | None, end: Time | None) -> list[str]:
    """What may surprise about the times."""
    notes: list[str] = []
    if start is None:
        return notes
    if "local" in (start.form, end.form if end else ""):
        notes.append("valid time has no offset (Z, +01:00): it is taken as UTC")
    if end and is_inclusive(start, end):
        notes.append(
            "valid_to looks like the last valid day; bitlake takes it as the first day that is not valid"
        )
        notes.append("any more: add a day to it in the records")
    for time in times:
        if names.says_known(time.path) and time.path != start.path and time.form != "date":
            notes.append(
                f"'{'.'.join(time.path)}' looks like when the record became known; as system time it is"
            )
            notes.append('taken by `load --envelope` from lines like {"timestamp": ..., "value": {...}}')
            break
    return notes


def too_precise(start: Time | None, end: Time | None) -> str:
    """Why digits of valid times are to be dropped, or nothing."""
    times = [time for time in (start, end) if time and time.precise]
    told = (f"{time.precise:,} of {time.known:,} in '{'.'.join(time.path)}'" for time in times)
    return f"more precise than a microsecond: {', '.join(told)}; digits beyond are dropped" if times else ""


def sample_notes(sample: Sample) -> list[str]:
    """What may surprise about the lines."""
    notes: list[str] = []
    if sample.envelope:
        notes.append("the lines are envelopes: load them with `bitlake load --envelope`")
    if sample.skipped:
        count = f"{sample.skipped:,} lines are" if sample.skipped > 1 else "1 line is"
        notes.append(f"{count} no JSON object and would become dead letters")
    return notes
