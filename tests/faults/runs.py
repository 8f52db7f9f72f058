"""One load, made to be run in a process of its own that a fault point may kill (see `tests.forks`)."""

import functools
import gc
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pipeline.engine.dataset
import pipeline.engine.load
from pipeline.errors import BitlakeError
from pipeline.lake import Lake
from pipeline.source.files import FileSource
from state.memory import MemoryState
from tests.model.strategies import random_stream

BLOCK_RECORDS = 3
"""Lines in a block, small so that a short file has many epochs: one ends between two blocks."""
OUTCOME = "outcome.json"


@dataclass(frozen=True)
class Load:
    """What a process does.

    Attributes:
        dataset, files, envelope: as `Lake.load_files` takes them.
        checkpoint_records: logged records after which keys are stored and the log is dropped.
    """

    dataset: str
    files: Sequence[str]
    envelope: bool = True
    checkpoint_records: int = 8_000_000


def load(place: str, text: str) -> None:
    """Load into the lake in `place`; what comes of it is left there in `OUTCOME`."""
    wanted = Load(**json.loads(text))
    outcome = Path(place) / OUTCOME
    outcome.unlink(missing_ok=True)
    pipeline.engine.dataset.CHECKPOINT_RECORDS = wanted.checkpoint_records
    pipeline.engine.load.FileSource = functools.partial(FileSource, block_records=BLOCK_RECORDS)  # type: ignore
    try:
        lake = Lake.open(Path(place) / "lake.yaml", {})
        summary: dict[str, Any] = asdict(
            lake.load_files(wanted.dataset, wanted.files, envelope=wanted.envelope)
        )
    except BitlakeError as error:
        summary = {"error": type(error).__name__, "message": str(error)}
    outcome.write_text(json.dumps(summary))


def warm_up() -> None:
    """Have every kernel loaded; with the state in memory, for RocksDB's threads would not survive a fork."""
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
                load(place, json.dumps(asdict(Load("bonds", [str(file)], checkpoint_records=10))))
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
