"""The parts of a story: records that come, and what a process does with them."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from pipeline.engine.epoch import Summary
from pipeline.lake import Lake
from tests.faults.simulation.plan import Plan
from tests.faults.simulation.topic import Message, Topic
from tests.model import Model
from tests.model.decoding import Record
from tests.model.strategies import envelope_line, numbered

Deed = Callable[[Lake, Any, bool], Summary]


class File:
    """A file that is loaded.

    Args:
        plan, number: whose part it is.
        files: where it goes.

    Attributes:
        over: it is loaded; to load it again would be to load new records.
    """

    over = False

    def __init__(self, plan: Plan, number: int, files: dict[str, bytes]) -> None:
        self._name = f"/{number}.jsonl"
        self._lines = [envelope_line(record).replace(b"\n", b" ") for record in plan.records(number)]
        files[self._name] = b"".join(line + b"\n" for line in self._lines)

    def deed(self, lake: Lake, stop: Any, last: bool) -> Summary:
        """What a process does; once the file is loaded, it only opens the dataset."""
        summary = lake.load_files("bonds", [] if self.over else [self._name], envelope=True)
        self.over = True
        return summary

    def __len__(self) -> int:
        return len(self._lines)

    def tell(self, model: Model) -> None:
        """Have the model know of it."""
        model.load(self._lines, started=0, envelope=True, first=model.records)


class Stretch:
    """Messages that come into the topic from now on.

    Args:
        plan, number: whose part it is.
        topic: where they come into.
        now: in microseconds.

    Attributes:
        over: never; where a topic has nothing new, following it changes nothing.
    """

    over = False

    def __init__(self, plan: Plan, number: int, topic: Topic, now: int) -> None:
        random, at = Random(plan.seed * 1000 + number), now
        gap = random.choice((0, 100_000, 3_000_000))
        begun = [len(partition) for partition in topic.partitions]
        self._records: list[Record] = []
        for record in numbered(plan.records(number), plan.partitions):
            at += random.randint(0, gap)
            placed = replace(record, offset=record.offset + begun[record.partition])
            if plan.lifts:
                placed = replace(placed, timestamp=at - random.choice((0, 0, 2_000_000)))
            topic.partitions[record.partition].append(Message(at, placed))
            self._records.append(placed)

    def deed(self, lake: Lake, stop: Any, last: bool, *, take_over: bool = False) -> Summary:
        """What a process does."""
        return lake.run(["bonds"], stop=stop, until_end=last, take_over=take_over)

    def __len__(self) -> int:
        return len(self._records)

    def tell(self, model: Model) -> None:
        """Have the model know of them."""
        model.run(self._records)
