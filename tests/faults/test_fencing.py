"""Every pair of writers that meet at one dataset: who claims it last writes it, and every record is there once.

The first writer is at its second epoch when the successor, on another machine (a state of its own), takes the
dataset. Each test is a cell of docs/fencing.md.
"""

import json
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.place import Place
from tests.faults.runs import Deed, Follow, Load, Replay
from tests.faults.topics import NO_LIFTS
from tests.forks import Forks
from tests.invariants import Evidence, disjoint, monotone, offsets_once, versions_once
from tests.kafka_broker import Kafka
from tests.matrix import ALIVE, DEAD, HALF, STALLED

FIRST, SUCCESSORS, STATES, TIMES = (
    ("run", "load", "replay"),
    ("run", "load"),
    (ALIVE, STALLED, DEAD, HALF),
    ("before", "after"),
)
RECORDS, EPOCH = 9, 3
BROKEN = (1, 4)
"""Which of a source's records are dead letters, until lake.yaml is mended."""
QUICK = {
    ("load", "load", ALIVE, "before"),
    ("load", "load", STALLED, "after"),
    ("load", "load", HALF, "before"),
    ("replay", "load", ALIVE, "before"),
    ("replay", "load", HALF, "after"),
    ("run", "load", STALLED, "before"),
    ("load", "run", HALF, "after"),
    ("run", "run", ALIVE, "after"),
}
CATALOGS = {
    ("load", "load", HALF, "before"),
    ("load", "load", ALIVE, "after"),
    ("run", "run", HALF, "after"),
    ("replay", "run", STALLED, "before"),
}
"""What is tried on other catalogs than SQLite, too."""


class Contest:
    """A dataset with a file, another file and a topic, and two machines that write it."""

    def __init__(self, folder: Path, forks: Forks, catalog: dict[str, Any], broker: Kafka | None) -> None:
        name = f"n{uuid.uuid4().hex[:12]}"
        self.entry = {
            "name": "bonds",
            "table": f"{name}.bonds",
            "topic": name,
            "key": ["isin"],
            "valid_from": "at",
            "on_new_field": "dead_letter",
            "columns": {"size": "long"},
            "children": [{"path": "legs", "key": ["leg"], "columns": {"leg": "string"}}],
        }
        self._settings = {
            "catalog": catalog,
            "dead_letters": {"table": f"{name}.dead_letters"},
            "commit": {"records": EPOCH, "seconds": 3600},
            **NO_LIFTS,
            **({"kafka": broker.properties} if broker else {}),
        }
        self.first, self.second = (
            Place(folder / name, forks, self.entry, settings=self._settings) for name in ("first", "second")
        )
        self.expected: set[str] = set()
        self._folder, self._topic, self._broker = folder, name, broker

    def deed(self, kind: str, source: str) -> Deed:
        """What a writer does; a source of a new name is made."""
        records = [self._record(source, number) for number in range(RECORDS)]
        self.expected |= {f"{source}{number}" for number in range(RECORDS)}
        if kind == "run":
            assert self._broker is not None
            self._broker.create_topic(self._topic, 1, retention_ms=-1)
            producer = self._broker.producer()
            for record in records:
                producer.produce(self._topic, record, json.loads(record)["isin"].encode())
            assert producer.flush(60) == 0
            return Follow("bonds")
        file = self._folder / f"{source}.jsonl"
        file.write_bytes(b"".join(record + b"\n" for record in records))
        return Load("bonds", [str(file)], envelope=False)

    def _record(self, source: str, number: int) -> bytes:
        extra = {"extra": 1} if number in BROKEN else {}
        value = {"isin": f"{source}{number}", "at": "2024-01-01", "size": number, "legs": [{"leg": source}]}
        return json.dumps(value | extra).encode()

    def mend(self) -> None:
        """From now on the broken records are none."""
        for place in (self.first, self.second):
            content = {**self._settings, "datasets": [self.entry | {"on_new_field": "ignore"}]}
            (place.folder / "lake.yaml").write_text(json.dumps(content))

    def check(self) -> None:
        """Every record is in both tables once, and none waits as a dead letter."""
        lake = self.second.lake
        for table in ("bonds", "bonds__legs"):
            rows = lake.history(table)
            assert Counter(rows["isin"].to_pylist()) == Counter(self.expected), table
            assert set(rows["system_to"].to_pylist()) == {None}
        letters = lake.dead_letters()
        assert letters is not None
        assert letters.counts() == {}
        versions_once(self._evidence())
        disjoint(self._evidence())

    def check_offsets(self) -> None:
        """Every offset is in one epoch: before anything was replayed, whose rows are of earlier offsets."""
        offsets_once(self._evidence())
        monotone(self._evidence())

    def _evidence(self) -> Evidence:
        lake = self.second.lake
        letters = lake.config.dead_letters.table
        return Evidence(self.second.catalog, "bonds", dict(lake.tables), letters)


def cells() -> list[Any]:
    found = []
    for first in FIRST:
        for successor in SUCCESSORS:
            for state in STATES:
                for when in TIMES:
                    cell = (first, successor, state, when)
                    marks = [pytest.mark.fencing(first, successor, state)]
                    if "run" in (first, successor):
                        marks.append(pytest.mark.servers)
                    if cell not in QUICK:
                        marks.append(pytest.mark.long)
                    elif cell != ("load", "load", HALF, "before"):
                        marks.append(pytest.mark.slow)
                    found.append(pytest.param(*cell, marks=marks))
    return found


@pytest.mark.parametrize(("first", "successor", "state", "when"), cells())
def test_a_pair(
    first: str,
    successor: str,
    state: str,
    when: str,
    tmp_path: Path,
    forks: Forks,
    request: pytest.FixtureRequest,
) -> None:
    catalog = {
        "name": "lake",
        "type": "sql",
        "uri": f"sqlite:///{tmp_path}/catalog.db",
        "warehouse": str(tmp_path / "warehouse"),
    }
    broker = request.getfixturevalue("broker") if "run" in (first, successor) else None
    _contest(Contest(tmp_path, forks, catalog, broker), first, successor, state, when)


@pytest.mark.servers
@pytest.mark.long
@pytest.mark.parametrize("where", ["postgres", "seaweed"])
@pytest.mark.parametrize(("first", "successor", "state", "when"), sorted(CATALOGS))
def test_a_pair_on_other_catalogs(
    first: str,
    successor: str,
    state: str,
    when: str,
    where: str,
    tmp_path: Path,
    forks: Forks,
    request: pytest.FixtureRequest,
) -> None:
    server = request.getfixturevalue(where)
    catalogs: dict[str, Callable[[], dict[str, Any]]] = {
        "postgres": lambda: {
            "name": uuid.uuid4().hex,
            "type": "sql",
            "uri": server.uri,
            "warehouse": str(tmp_path / "warehouse"),
        },
        "seaweed": lambda: {"name": "lake", **server.rest_catalog},
    }
    broker = request.getfixturevalue("broker") if "run" in (first, successor) else None
    _contest(Contest(tmp_path, forks, catalogs[where](), broker), first, successor, state, when)


def _contest(contest: Contest, first: str, successor: str, state: str, when: str) -> None:
    if first == "replay":
        contest.first.finish(contest.deed("load", "A"))
        contest.mend()
        begun: Deed = Replay("bonds")
    else:
        begun = contest.deed(first, "A")
    same = first == successor
    mine = begun if same else contest.deed(successor, "B")
    taking_over = replace(mine, take_over=True)
    nth = 1 if first == "replay" else 2
    points = {
        ALIVE: "after-intent",
        STALLED: "before-first-commit",
        DEAD: "after-file-list",
        HALF: "between-commits",
    }
    point = f"{points[state]}:{nth}"
    if state == DEAD:
        contest.first.kill(begun, point)
        if when == "before":
            contest.second.kill(mine, "before-first-commit")
        contest.second.finish(mine)
    else:
        stalled = contest.first.stop(begun, point)
        assert "is being written by process" in contest.second.refused(mine, "Leased")
        if state == ALIVE or when == "before":
            stop = "before-first-commit" if when == "before" else "after-last-commit"
            rival = contest.second.stop(taking_over, stop)
            _is_fenced(contest.first.resume(stalled))
            outcome = contest.second.resume(rival)
            assert "error" not in outcome, outcome
        else:
            contest.second.finish(taking_over)
            _is_fenced(contest.first.resume(stalled))
    if not same:
        contest.second.finish(begun)
    if first != "replay":
        if (first == "run") is (successor == "run"):  # files' offsets are renumbered before a topic's
            contest.check_offsets()
        contest.mend()
    contest.second.finish(Replay("bonds"))
    contest.first.finish(Replay("bonds", take_over=True))
    contest.check()


def _is_fenced(outcome: dict[str, Any]) -> None:
    assert outcome.get("error") == "Fenced", outcome
    assert "was taken over by process" in outcome["message"]
