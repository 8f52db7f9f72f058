"""What is done in a process of its own that a fault may befall (see `tests.forks`)."""

import functools
import gc
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import pipeline.engine.checkpoints
import pipeline.engine.load
import pipeline.engine.run
import pipeline.sink.commit
import pipeline.sink.rest
import pipeline.source.kafka.records
import pipeline.source.kafka.work
from pipeline import faults
from pipeline.errors import BitlakeError
from pipeline.lake import Lake
from pipeline.query.dead_letters import Wanted
from pipeline.source.files import FileSource
from state.memory import MemoryState
from tests.faults.mishaps import befall
from tests.faults.state import held_and_rebuilt
from tests.model.strategies import random_stream

BLOCK_RECORDS = 3
"""Lines in a block, small so that a short file has many epochs: one ends between two blocks."""
ATTEMPTS = 4
"""Tries of a commit: the product's 20 would be waited for where nothing will come."""
ANSWER_SECONDS = 2.0
OUTCOME = "outcome.json"


@dataclass(frozen=True)
class Load:
    """A process that loads files.

    Attributes:
        dataset, files, envelope, take_over: as `Lake.load_files` takes them.
        checkpoint_records: logged records after which keys are stored and the log is dropped.
        mishap: what befalls it at a fault point, as ``mishap@point:nth`` (see `tests.faults.mishaps`).
        now: what its clock says, in microseconds; 0: the right time.
    """

    action: ClassVar[str] = "load"
    dataset: str
    files: Sequence[str]
    envelope: bool = True
    take_over: bool = False
    checkpoint_records: int = 8_000_000
    mishap: str = ""
    now: int = 0


@dataclass(frozen=True)
class Follow:
    """A process that follows a dataset's topic until its end.

    Attributes:
        dataset, take_over: as `Lake.run` takes them.
        checkpoint_records, mishap, now: as in `Load`.
        patience: seconds for which servers that are away are waited for; 0: as long as the product does.
    """

    action: ClassVar[str] = "follow"
    dataset: str
    take_over: bool = False
    checkpoint_records: int = 8_000_000
    mishap: str = ""
    now: int = 0
    patience: float = 0.0


@dataclass(frozen=True)
class Replay:
    """A process that replays a dataset's dead letters.

    Attributes:
        dataset, take_over: as `Lake.replay_dead_letters` takes them.
        checkpoint_records, mishap, now: as in `Load`.
    """

    action: ClassVar[str] = "replay"
    dataset: str
    take_over: bool = False
    checkpoint_records: int = 8_000_000
    mishap: str = ""
    now: int = 0


Deed = Load | Follow | Replay


def run(action: str, place: str, text: str) -> None:
    """Do something to the lake in `place`; what comes of it is left there in `OUTCOME`."""
    outcome = Path(place) / OUTCOME
    outcome.unlink(missing_ok=True)
    try:
        result = _ACTIONS[action](Path(place), text)
    except BitlakeError as error:
        result = {"error": type(error).__name__, "message": str(error)}
    outcome.write_text(json.dumps(result | {"befell": getattr(faults._fault, "left", 0) <= 0}))


def load(place: Path, text: str) -> dict[str, Any]:
    """Load as `text` says."""
    wanted = Load(**json.loads(text))
    pipeline.engine.load.FileSource = functools.partial(FileSource, block_records=BLOCK_RECORDS)  # type: ignore
    lake = _open(place, wanted)
    summary = lake.load_files(
        wanted.dataset, wanted.files, envelope=wanted.envelope, take_over=wanted.take_over
    )
    return asdict(summary)


def follow(place: Path, text: str) -> dict[str, Any]:
    """Follow as `text` says."""
    wanted = Follow(**json.loads(text))
    pipeline.source.kafka.work.BLOCK_RECORDS = BLOCK_RECORDS
    if wanted.patience:
        pipeline.engine.run.PATIENCE_SECONDS = wanted.patience
    lake = _open(place, wanted)
    return asdict(lake.run([wanted.dataset], until_end=True, take_over=wanted.take_over))


def replay(place: Path, text: str) -> dict[str, Any]:
    """Replay as `text` says."""
    wanted = Replay(**json.loads(text))
    letters = Wanted(dataset=wanted.dataset)
    return asdict(_open(place, wanted).replay_dead_letters(letters, take_over=wanted.take_over))


def _open(place: Path, wanted: Deed) -> Lake:
    if wanted.now:
        time.time_ns = lambda: wanted.now * 1000
    checkpoints = pipeline.engine.checkpoints
    checkpoints.LEAST_RECORDS, checkpoints.MOST = wanted.checkpoint_records, 1
    checkpoints.SPREAD, checkpoints.LEAST_KEYS = wanted.checkpoint_records, 1
    pipeline.sink.commit.ATTEMPTS = ATTEMPTS
    pipeline.sink.rest.ANSWER_SECONDS = ANSWER_SECONDS
    lake = Lake.open(place / "lake.yaml", {})
    if wanted.mishap:
        befall(wanted.mishap, lake)
    return lake


def describe_state(place: Path, dataset: str) -> dict[str, Any]:
    """What the state holds of a dataset, and what a rebuild from the tables makes."""
    held, rebuilt = held_and_rebuilt(Lake.open(place / "lake.yaml", {}).config, dataset)
    return {"held": held, "rebuilt": rebuilt}


_ACTIONS: dict[str, Callable[[Path, str], dict[str, Any]]] = {
    "load": load,
    "follow": follow,
    "replay": replay,
    "state": describe_state,
}


def warm_up() -> None:
    """Have every kernel loaded; with the state in memory, for RocksDB's threads would not survive a fork."""
    pipeline.source.kafka.records.warm()
    opened = pipeline.engine.load.open_state
    pipeline.engine.load.open_state = lambda *_: MemoryState()
    try:
        with tempfile.TemporaryDirectory() as place:
            for number in range(2):  # the second load rebuilds the state from the tables
                stream = random_stream(number, 20, entry=BONDS)
                file = Path(place) / f"{number}.jsonl"
                file.write_bytes(b"\n".join(stream.envelope_lines()))
                content = {"commit": {"records": 7}, "datasets": [BONDS]}
                (Path(place) / "lake.yaml").write_text(json.dumps(content))
                run("load", place, json.dumps(asdict(Load("bonds", [str(file)], checkpoint_records=10))))
                outcome = json.loads((Path(place) / OUTCOME).read_text())
                assert "error" not in outcome, outcome
    finally:
        pipeline.engine.load.open_state = opened
        gc.collect()  # reserved memory that is still mapped may be too much to fork


BONDS: dict[str, Any] = {
    "name": "bonds",
    "table": "ref.bonds",
    "key": ["isin"],
    "valid_from": "at",
    "valid_to": "until",
    "valid_end": "next_change",
    "valid_time": "timestamp",
    "operation": "action",
    "on_new_field": "evolve",
    "columns": {
        "coupon": {"path": "terms.coupon", "type": "decimal(12,6)"},
        "issuer": "string",
        "size": "long",
    },
    "children": [
        {"path": "calls", "key": ["call_date"], "columns": {"call_date": "date", "price": "decimal(9,3)"}},
        {
            "path": "terms.legs",
            "key": ["leg"],
            "columns": {"leg": "string", "rate": "double"},
            "children": [
                {"path": "fees", "columns": {"fee": "long"}},
            ],
        },
    ],
}
"""Keys, values and children of most kinds."""
MANY = BONDS | {"key": ["isin", "venue"]}
"""The same with more keys."""
