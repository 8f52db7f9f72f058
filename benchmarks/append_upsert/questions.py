"""Questions to a subject's views in Trino: how long they take, and what they answer."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.views.trino_client import TrinoClient


@dataclass(frozen=True)
class Points:
    """What questions are about: a valid and a system time in the middle of what there is, and a key."""

    valid: str
    system: str
    key: str


def points(trino: TrinoClient, table: str, key: str) -> Points:
    """Points in the middle of a table."""
    found = trino.ask(
        "SELECT CAST(min(valid_from) + (max(valid_from) - min(valid_from)) / 2 AS varchar),"
        " CAST(min(system_from) + (max(system_from) - min(system_from)) / 2 AS varchar)"
        f" FROM lake.{table}_history"
    )
    valid, system = found.rows[0]
    return Points(valid, system, key)


def questions(tables: Sequence[str], at: Points) -> dict[str, str]:
    """The questions by name; each has an answer of few rows that depends on every row it is about.

    Args:
        tables: a subject's; its parent table is the first.
        at: what they are about.
    """
    table, *children = tables
    answer = "SELECT count(*) AS n, checksum(ROW(isin, valid_from, coupon, spread)) AS rows_checksum"
    valid, system = f"TIMESTAMP '{at.valid}'", f"TIMESTAMP '{at.system}'"
    then = (
        f"valid_from <= {valid} AND valid_to > {valid} AND system_from <= {system} AND system_to > {system}"
    )
    one = f"isin = '{at.key}'"
    columns = "isin, issuer, coupon, basis, spread, valid_from, valid_to, system_from, system_to"
    history, current = f"lake.{table}_history", f"lake.{table}_current"
    found = {
        "as-of, all keys": f"{answer} FROM {history} WHERE {then}",
        "as-of, one key": f"SELECT {columns} FROM {history} WHERE {then} AND {one}",
        "current, all keys": f"{answer} FROM {current}",
        "current, one key": f"SELECT {columns} FROM {current} WHERE {one} ORDER BY valid_from",
        "history, all": f"{answer}, checksum(ROW(isin, valid_to, system_from, system_to)) AS times_checksum"
        f" FROM {history}",
    }
    times = "isin, valid_from, valid_to, system_from, system_to"
    for child in children:
        array = child.partition("__")[2]
        found[f"history, {array}"] = f"SELECT count(*), checksum(ROW({times})) FROM lake.{child}_history"
    return found


def ask(trino: TrinoClient, tables: Sequence[str], at: Points, times: int) -> dict[str, Any]:
    """Ask each question some times, after once that does not count: seconds, their median, the answer."""
    found = {}
    for name, statement in questions(tables, at).items():
        answer, seconds = trino.ask(statement).rows, []
        for _ in range(times):
            begun = time.perf_counter()
            again = trino.ask(statement).rows
            seconds.append(round(time.perf_counter() - begun, 4))
            if again != answer:
                raise AssertionError(f"{name}: {again} after {answer}")
        found[name] = {"median_seconds": statistics.median(seconds), "seconds": seconds, "answer": answer}
    return found
