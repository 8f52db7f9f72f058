"""A topic of random records, a lake that follows it, and what the naive model makes of it."""

import json
import os
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import BitlakeError
from tests.faults.place import Place
from tests.faults.runs import Follow
from tests.faults.stories import KINDS
from tests.forks import Forks
from tests.kafka_broker import Kafka, wait_until
from tests.model import Model
from tests.model.decoding import Record
from tests.model.strategies import numbered, random_stream

_HERE = {"PYTHONPATH": str(Path(__file__).parents[2])}
RECORDS = 30
PARTITIONS = 3
NO_LIFTS = {"time": {"idle_margin": "36500d", "max_ahead": "36500d"}}
"""The rows are those of the model: no clock is lifted, and no record is too far ahead of now."""
LIFTS = {"time": {"idle_margin": "0s", "max_ahead": "36500d"}}
"""Clocks are lifted as high and as soon as they can be."""


class Followed(Place):
    """A place whose lake follows a topic."""

    def check_position(self, model: Model, *, exact_times: bool) -> None:
        position = self.position(model.dataset.name)
        ends = {partition: offset for partition, offset in position.offsets.items() if offset}
        assert sum(ends.values()) == model.records, position
        if exact_times:
            assert {p: clock for p, clock in position.clocks.items() if p in ends} == model.clocks

    @contextmanager
    def running(self) -> Iterator[list[BitlakeError]]:
        """A run on a thread, until the block ends; gives the list of its failures, which must stay empty."""
        stop, failures = threading.Event(), list[BitlakeError]()

        def run() -> None:
            try:
                self.lake.run(stop=stop)
            except BitlakeError as error:
                failures.append(error)

        thread = threading.Thread(target=run, name="run")
        thread.start()
        try:
            yield failures
        finally:
            stop.set()
            thread.join(120)
        assert not thread.is_alive()
        assert not failures, failures[0]

    def read(self, dataset: str) -> int:
        """How many records are committed."""
        position = self.committed(dataset)
        return sum(position.offsets.values()) if position else 0


class Topic:
    """A topic of random records and its model.

    Args:
        broker: where it is.
        seed: of its records.
        entry: the dataset's, without the topic.
    """

    def __init__(self, broker: Kafka, seed: int, entry: dict[str, Any]) -> None:
        self.name, self.broker = f"t{uuid.uuid4().hex[:12]}", broker
        self.seed, self._entry = seed, entry
        self.entry, self.model = entry | {"topic": self.name}, Model(entry)
        self._ends: Counter[int] = Counter()
        broker.create_topic(self.name, PARTITIONS, retention_ms=-1)

    def grow(self, count: int) -> None:
        """Add random records; their times begin where the first ones' did."""
        stream = random_stream(self.seed, count, entry=self._entry)
        self.seed += 1
        self.add(numbered(stream.records, PARTITIONS))

    def add(self, records: Sequence[Record], headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """Add records to their partitions, at the times that they say, in one batch for each."""
        producer = self.broker.producer(compression_type="lz4", linger_ms=1000, message_max_bytes=32 << 20)
        for record in records:
            stamp = max(record.timestamp, 0) // 1000
            producer.produce(
                self.name,
                record.value,
                record.key,
                partition=record.partition,
                timestamp=stamp,
                headers=list(headers),
            )
            offset = self._ends[record.partition]
            self.model.apply(replace(record, timestamp=stamp * 1000, offset=offset))
            self._ends[record.partition] += 1
        assert producer.flush(60) == 0


class RunStory:
    """A topic of random records that a lake of one dataset follows.

    Args:
        folder, forks: as `Place` takes them.
        broker: where the topic is.
        seed: of the records.
        kind: of `tests.faults.stories.KINDS`.
        lifts: clocks are lifted, and so system times are not the model's.
        settings: more of lake.yaml.
        checkpoint_records: as `Follow` takes them.
    """

    def __init__(
        self,
        folder: Path,
        forks: Forks,
        broker: Kafka,
        seed: int,
        *,
        kind: str = "append",
        lifts: bool = False,
        settings: dict[str, Any] | None = None,
        table: str = "ref.bonds",
        checkpoint_records: int = 8_000_000,
    ) -> None:
        entry, own = KINDS[kind][0] | {"on_new_field": "ignore"}, KINDS[kind][1]
        self.topic = Topic(broker, seed, entry | {"table": table})
        times = LIFTS if lifts else NO_LIFTS
        settings = {"kafka": broker.properties, **times, **own, **(settings or {})}
        self.place = Followed(folder, forks, self.topic.entry, settings=settings)
        self.follow, self.lifts = Follow("bonds", checkpoint_records=checkpoint_records), lifts
        self.topic.grow(RECORDS)

    def kill(self, *points: str) -> "RunStory":
        """Have the run killed at one point after the other."""
        for point in points:
            self.place.kill(self.follow, point)
        return self

    @property
    def taking_over(self) -> Follow:
        """The run, with --take-over."""
        return replace(self.follow, take_over=True)

    def lose_state(self) -> None:
        """The state of a run that was killed is gone: what follows is another writer, on the same machine."""
        self.place.lose_state()

    def ends_well(self) -> None:
        """A run goes on to the end, and the tables are as if nothing had happened."""
        self.place.finish(self.follow)
        self.check()

    def proceeds(self) -> None:
        """The same, and so do runs that find more records, with and without the state."""
        self.ends_well()
        self.goes_on()
        self.place.lose_state()
        self.goes_on()

    def goes_on(self) -> None:
        """A run goes on with more records."""
        self.topic.grow(RECORDS // 2)
        self.ends_well()

    def ends_as_resumed(self, process: int) -> None:
        """The run, stopped before, goes on to its end; and so do others."""
        outcome = self.place.resume(process)
        assert "error" not in outcome, outcome
        self.goes_on()

    def successor(self) -> Followed:
        """The same tables and the same topic, with another state: as on another machine."""
        config = json.loads((self.place.folder / "lake.yaml").read_text())
        base = f"{self.place.folder}/.bitlake"
        catalog = {"name": "lake", "type": "sql", "uri": f"sqlite:///{base}/catalog.db"}
        settings = {"catalog": catalog | {"warehouse": f"{base}/warehouse"}} | config
        return Followed(
            self.place.folder / "successor", self.place.forks, self.topic.entry, settings=settings
        )

    def read_all(self) -> None:
        """Wait until a run, which goes on, has committed everything."""
        records = self.topic.model.records
        wait_until(lambda: self.place.read("bonds") == records, f"{records} records to be committed")

    def check(self) -> None:
        """The tables hold what the model says; where clocks are lifted, what must hold of any tables."""
        if self.lifts:
            self.place.check_position(self.topic.model, exact_times=False)
            self.place.check_invariants(self.topic.model)
        else:
            self.place.check(self.topic.model)


@contextmanager
def service(folder: Path, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """``bitlake run`` of the lake in a folder, in a process of its own; killed if it has not ended.

    What it prints is in the folder's file ``log``.
    """
    command = [sys.executable, "-c", "from pipeline.cli.main import main; main()", "run", *options]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env={**os.environ, **_HERE}) as process,
    ):
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()
