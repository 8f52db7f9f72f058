"""Dead letters on their way to Kafka; when they are sent, see `pipeline.sink.dead_letter_topic`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from pipeline.config import DatasetConfig, LakeConfig
from pipeline.engine.patience import Patience
from pipeline.sink.lake_sink import LakeSink

if TYPE_CHECKING:
    from pipeline.sink.dead_letter_topic import DeadLetterTopic


@dataclass(frozen=True)
class Outgoing:
    """Sends a dataset's dead letters, if lake.yaml names a topic for them.

    Attributes:
        topic: where to; None: they stay in their table.
        patience: how long brokers that are away are waited for.
    """

    topic: "DeadLetterTopic | None"
    patience: Patience

    @classmethod
    def of(cls, lake: LakeConfig, dataset: DatasetConfig, patience: Patience) -> Self:
        """As lake.yaml says."""
        name = lake.dead_letters.topic_of(dataset)
        if name is None:
            return cls(None, patience)
        from pipeline.sink.dead_letter_topic import DeadLetterTopic

        return cls(DeadLetterTopic(lake.kafka, name, dataset.name), patience)

    def check(self) -> None:
        """Find the topic, or make it, before it is needed.

        Raises:
            BadConfiguration: there is none, and we may not make it.
            Unavailable: no broker answers.
        """
        if self.topic is not None:
            self.patience.call_apart(self.topic.partitions)

    def send(self, letters: pa.Table | None) -> None:
        """Send those of an epoch's rows of the table of dead letters that are no replays.

        Raises:
            BadConfiguration: we may not write to the topic.
            Unavailable: no broker answers.
        """
        if self.topic is not None and letters is not None:
            self.patience.call(self.topic.sending(letters).send)

    def send_again(self, sink: LakeSink, dataset: str, epoch: int) -> None:
        """Send an epoch's letters as the table has them: whoever committed it may have died before."""
        if self.topic is not None:
            self.send(sink.dead_letters(dataset, epoch))

    @contextmanager
    def closed_on_failure(self) -> Iterator[None]:
        """Let go of the connections if what is tried fails."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connections."""
        if self.topic is not None:
            self.topic.close()
