"""Dead letters on their way to a Kafka topic: messages in frames for `bitlake.Letters`, which sends them.

It holds them until the checkpoint that they came before is complete: the same in which the table gets them.
"""

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.sink.dead_letter_topic import DeadLetterTopic, Letter, messages

if TYPE_CHECKING:
    from pipeline.flink.plan import DatasetPlan

_LETTERS = 252
_INT = struct.Struct(">i")


def letters_frame(rows: pa.Table, dataset: str) -> bytes:
    """Rows of the table of dead letters as one frame of messages, which get the time of their sending."""
    found = [*messages(rows, dataset)]
    return b"".join((bytes((_LETTERS,)), _INT.pack(len(found)), *(_message(*one) for one in found)))


def _message(partition: int, letter: Letter) -> bytes:
    headers = [part for name, value in letter.headers for part in (_sized(name.encode()), _sized(value))]
    parts = (_INT.pack(partition), _sized(letter.key), _sized(letter.value), _INT.pack(len(letter.headers)))
    return b"".join((*parts, *headers))


def _sized(value: bytes | None) -> bytes:
    return _INT.pack(-1) if value is None else _INT.pack(len(value)) + value


def send_letters(java: Any, plan: "DatasetPlan", decoded: Any, kafka: Mapping[str, str]) -> None:
    """Add to the graph what sends a dataset's dead letters, if lake.yaml names a topic for them.

    Args:
        java: the gateway's view of Java.
        plan: of the dataset.
        decoded: the stream of what `Decode` gives.
        kafka: client properties.

    Raises:
        BadConfiguration: there is no such topic, and we may not make it.
        Unavailable: no broker answers.
    """
    if plan.letters is None:
        return
    topic = DeadLetterTopic(kafka, plan.letters, plan.config.name)
    try:
        topic.partitions()
    finally:
        topic.close()
    name = plan.config.name
    sending = decoded.transform(
        f"{name}: letters", decoded.getType(), java.bitlake.Letters(plan.letters, kafka)
    )
    sending.uid(f"{name}-letters").setParallelism(1)
