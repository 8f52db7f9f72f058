"""Where the time of a load goes: CPU seconds of its steps, each on the thread that does it."""

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.workload import Workload, lake
from pipeline.decode import Decoder
from pipeline.engine import committer
from pipeline.engine.epoch import Draft
from pipeline.engine.journal import Journal
from pipeline.engine.timelines import Timelines
from pipeline.lake import Lake
from pipeline.sink.lake_sink import LakeSink
from pipeline.source.lines import LineSource

_STEPS: tuple[tuple[str, Any, str], ...] = (
    ("decode", Decoder, "decode"),
    ("look keys up", Timelines, "admit"),
    ("apply", Timelines, "apply"),
    ("pack the log", Draft, "add"),
    ("gather rows", committer, "gather"),
    ("write Parquet", LakeSink, "write"),
    ("write the log", Journal, "record_files"),
    ("commit", LakeSink, "commit"),
)


def profile(workload: Workload, *, children: bool, file: Path | None = None) -> dict[str, float]:
    """Load the workload once in this process; CPU seconds by step, and of all else together.

    The kernels must be compiled: load anything before.
    """
    spent: defaultdict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory(prefix="bitlake-stages-") as name, ExitStack() as patches:
        folder = Path(name)
        data = file or folder / "records.jsonl"
        if file is None:
            workload.write(data)
        (folder / "lake.yaml").write_text(lake(children=children), encoding="utf-8")
        for step, owner, method in _STEPS:
            patches.enter_context(patch.object(owner, method, _timed(spent, step, getattr(owner, method))))
        patches.enter_context(patch.object(LineSource, "__iter__", _timed_blocks(spent, LineSource.__iter__)))
        begun = time.process_time()
        Lake.open(folder / "lake.yaml", {}).load_files("bonds", [data])
        whole = time.process_time() - begun
    seconds = {step: spent[step] for step in ("read lines", *(step for step, _, _ in _STEPS))}
    return {**seconds, "all else": whole - sum(seconds.values())}


def _timed(spent: dict[str, float], step: str, function: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        with _clock(spent, step):
            return function(*args, **kwargs)

    return call


def _timed_blocks(spent: dict[str, float], blocks: Any) -> Any:
    def iterate(source: LineSource) -> Iterator[Any]:
        inner = blocks(source)
        while True:
            with _clock(spent, "read lines"):
                block = next(inner, None)
            if block is None:
                return
            yield block

    return iterate


@contextmanager
def _clock(spent: dict[str, float], step: str) -> Iterator[None]:
    begun = time.thread_time()
    try:
        yield
    finally:
        spent[step] += time.thread_time() - begun
