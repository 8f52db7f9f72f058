"""Random lives by seed (`tests.faults.simulation`); ``BITLAKE_SEED=... pytest`` lives through that seed alone."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine.committer import Committer, Cut
from pipeline.engine.journal import Intent, Journal
from pipeline.sink.commit import EpochCommit
from pipeline.sink.lake_sink import LakeSink
from tests.faults.simulation import SeedFailed, simulate
from tests.matrix import SIMULATION

HOME = Path(__file__).parents[2]
GIVEN = os.environ.get("BITLAKE_SEED")
QUICK = [int(GIVEN)] if GIVEN else (1, 5, 14, 21)
AT_ONCE = 20
MANY = range(1000, 1800, AT_ONCE)
MOST = 60
"""Seeds within which a planted bug must be found."""


@pytest.mark.fault(SIMULATION)
@pytest.mark.parametrize("seed", QUICK)
def test_a_seed(seed: int) -> None:
    simulate(seed)


@pytest.mark.long
@pytest.mark.fault(SIMULATION)
@pytest.mark.parametrize("first", MANY)
def test_many_seeds(first: int) -> None:
    outcomes = [simulate(seed) for seed in range(first, first + AT_ONCE)]
    assert sum(outcome.deaths for outcome in outcomes) > AT_ONCE // 2
    assert sum(outcome.failures for outcome in outcomes) > 0


@pytest.mark.slow
def test_a_seed_makes_the_same_happen_again() -> None:
    assert simulate(5) == simulate(5)


@pytest.mark.long
def test_a_seed_makes_the_same_happen_in_another_process() -> None:
    """Where nothing is hashed as here."""
    command = [sys.executable, "-m", "tests.faults.simulation", "2"]
    environ = {**os.environ, "PYTHONHASHSEED": "7"}
    told = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=True, env=environ)
    assert str(simulate(2)) in told.stdout
    assert simulate(2).trace != simulate(3).trace


def state_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is marked before the tables have the epoch."""
    commit = LakeSink.commit
    waiting: list[Callable[[], None]] = []

    def begin(self: Journal, position: Any, _begin: Any = Journal.begin) -> None:
        _begin(self, position)
        waiting[:] = [lambda: self.finish(position)]

    def marked(self: LakeSink, files: Any) -> None:
        while waiting:
            waiting.pop()()
        commit(self, files)

    monkeypatch.setattr(Journal, "begin", begin)
    monkeypatch.setattr(LakeSink, "commit", marked)


def no_file_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """The intent never gets its list of files."""
    put = Journal._put_intent

    def without(self: Journal, batch: Any, intent: Intent) -> None:
        put(self, batch, Intent(intent.position, None))

    monkeypatch.setattr(Journal, "_put_intent", without)


def no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether a table has the epoch already."""
    monkeypatch.setattr(EpochCommit, "_is_there", lambda self: False)


def no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The changes are not written to the log."""
    record = Journal.record_files
    monkeypatch.setattr(
        Journal, "record_files", lambda self, files, log, layout: record(self, files, [], layout)
    )


def keys_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are stored before their epochs are committed."""
    monkeypatch.setattr(Committer, "drain", lambda self: None)


def rows_given_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch's rows are given to the next one before they are written."""
    commit = Committer._commit

    def early(self: Committer, cut: Cut) -> None:
        self._spare.put(cut.draft.rows)
        commit(self, cut)

    monkeypatch.setattr(Committer, "_commit", early)


@pytest.mark.long
@pytest.mark.parametrize("bug", [state_first, no_file_list, no_look, no_log, keys_too_early, rows_given_away])
def test_a_bug_is_found(bug: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    bug(monkeypatch)
    with pytest.raises(SeedFailed, match="again: python -m tests.faults.simulation"):
        for seed in range(1, MOST):
            simulate(seed)
