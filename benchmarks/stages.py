"""Where the time of a load goes: CPU seconds of its steps, each on the thread that does it."""

import json
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
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
from pipeline.sink import lake_sink
from pipeline.sink.lake_sink import LakeSink
from pipeline.source.kafka import fetcher
from pipeline.source.kafka.connection import Connection
from pipeline.source.kafka.records import Unpacker
from pipeline.source.lines import LineSource
from pipeline.versions.gather import Source

_STEPS: tuple[tuple[str, Any, str], ...] = (
    ("fetch", Connection, "receive"),
    ("check batches", fetcher, "scan_batches"),
    ("decompress and walk", Unpacker, "read"),
    ("decode", Decoder, "decode"),
    ("look keys up", Timelines, "admit"),
    ("bring keys back", Timelines, "bring"),
    ("apply", Timelines, "apply"),
    ("pack the log", Draft, "add"),
    ("gather rows", committer, "gather"),
    ("write the log", Journal, "record_files"),
    ("commit", LakeSink, "commit"),
    ("write keys", Timelines, "write"),
)
_MADE: tuple[tuple[str, Any, str], ...] = (
    ("read lines", LineSource, "__iter__"),
    ("gather rows", Source, "chunks"),
    ("write Parquet", lake_sink, "write_rows"),
)
"""Steps that make one thing after the other, when they are asked."""
_ORDER = (
    "read lines", "fetch", "check batches", "decompress and walk", "decode", "look keys up",
    "bring keys back", "apply", "pack the log", "gather rows", "write Parquet", "write the log", "commit",
    "write keys",
)  # fmt: skip


def profile_file(workload: Workload, *, children: bool, file: Path | None = None) -> dict[str, float]:
    """Load the workload's file once in this process; see `profile`."""
    with tempfile.TemporaryDirectory(prefix="bitlake-stages-") as name:
        data = file or Path(name) / "records.jsonl"
        if file is None:
            workload.write(data)
        return profile(lake(children=children), lambda opened: opened.load_files("bonds", [data]))


def profile_topic(cluster: Any, topic: str, *, children: bool, more: str = "") -> dict[str, float]:
    """Follow a topic to its end once in this process; see `profile`."""
    config = lake(children=children, topic=topic) + f"\nkafka: {json.dumps(cluster.properties)}\n{more}\n"
    return profile(config, lambda opened: opened.run(["bonds"], until_end=True))


def profile(config: str, work: Callable[[Lake], Any]) -> dict[str, float]:
    """Work once in this process, in a new lake; CPU seconds by step, and of all else together.

    The kernels must be compiled: load anything before.
    """
    spent: defaultdict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory(prefix="bitlake-stages-") as name, ExitStack() as patches:
        folder = Path(name)
        (folder / "lake.yaml").write_text(config, encoding="utf-8")
        for step, owner, method in _STEPS:
            patches.enter_context(patch.object(owner, method, _timed(spent, step, getattr(owner, method))))
        for step, owner, method in _MADE:
            patches.enter_context(
                patch.object(owner, method, _timed_items(spent, step, getattr(owner, method)))
            )
        begun = time.process_time()
        work(Lake.open(folder / "lake.yaml", {}))
        whole = time.process_time() - begun
    seconds = {step: spent[step] for step in _ORDER if step in spent}
    return {**seconds, "all else": whole - sum(seconds.values())}


def _timed(spent: dict[str, float], step: str, function: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        with _clock(spent, step):
            return function(*args, **kwargs)

    return call


def _timed_items(spent: dict[str, float], step: str, items: Any) -> Any:
    def iterate(*args: Any, **kwargs: Any) -> Iterator[Any]:
        inner = items(*args, **kwargs)
        while True:
            with _clock(spent, step):
                item = next(inner, None)
            if item is None:
                return
            yield item

    return iterate


_within = threading.local()


@contextmanager
def _clock(spent: dict[str, float], step: str) -> Iterator[None]:
    """Count the thread's CPU time for a step, less that of the steps inside it."""
    begun, outer, _within.spent = time.thread_time(), getattr(_within, "spent", 0.0), 0.0
    try:
        yield
    finally:
        took = time.thread_time() - begun
        spent[step] += took - _within.spent
        _within.spent = outer + took
