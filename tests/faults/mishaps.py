"""What may befall a process at a fault point beside its death; ``BITLAKE_FAULT`` only knows that."""

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy.exc import OperationalError

from pipeline import faults
from pipeline.lake import Lake
from pipeline.sink.catalog import open_catalog

FILLER = "filler"
ROOM = 64 << 20


def befall(text: str, lake: Lake) -> None:
    """Have a mishap happen, as ``mishap@point:nth`` says, or ``mishap@point:nth=argument``."""
    mishap, _, rest = text.partition("@")
    where, _, argument = rest.partition("=")
    point, _, nth = where.partition(":")
    deeds: dict[str, Callable[[], Any]] = {
        "stop": stop,
        "fill": partial(fill, Path(argument)),
        "touch": partial(touch, lake),
        "compact": partial(compact, lake),
        "lose-answer": lose_answer,
    }
    faults._fault = Mishap(point, int(nth or 1), deeds[mishap])  # type: ignore[assignment]


def stop() -> None:
    """Stop the process here: sent to the process, another thread may be told first, and this one go on."""
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


class Mishap:
    def __init__(self, point: str, nth: int, deed: Callable[[], Any]) -> None:
        assert point in faults.POINTS
        self.point, self.left, self.deed = point, nth, deed

    def passed(self, name: str) -> None:
        if name == self.point:
            self.left -= 1
            if self.left == 0:
                self.deed()


def fill(folder: Path) -> None:
    """Leave no room on the disk that a folder is on."""
    with (folder / FILLER).open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                for _ in range(ROOM // size):
                    file.write(bytes(size))


def touch(lake: Lake) -> None:
    """Another writer commits to every table: a property, so no snapshot."""
    catalog = open_catalog(lake.config.catalog)
    for schema in lake.tables.values():
        with catalog.load_table(schema.identifier).transaction() as transaction:
            transaction.set_properties({"comment": "seen"})


def compact(lake: Lake) -> None:
    """Another writer puts one file in the place of all of a table's files; its snapshot tells of no epoch."""
    catalog = open_catalog(lake.config.catalog)
    for schema in lake.tables.values():
        table = catalog.load_table(schema.identifier)
        if table.current_snapshot() is not None and len(rows := table.scan().to_arrow()):
            table.overwrite(rows)


def lose_answer() -> None:
    """The catalog does the next commit, and its answer is lost."""
    commit = SqlCatalog.commit_table

    def losing(self: SqlCatalog, *args: Any, **kwargs: Any) -> Any:
        SqlCatalog.commit_table = commit  # type: ignore[method-assign]
        commit(self, *args, **kwargs)
        raise OperationalError("UPDATE iceberg_tables", {}, OSError("connection reset by peer"))

    SqlCatalog.commit_table = losing  # type: ignore[method-assign]
