"""Records from Kafka: whole record batches by fetch requests, walked by compiled kernels.

How it is used:

    with KafkaSource(properties) as source:           # client properties by Kafka's own names
        reader = source.open("bonds", {0: 17, 1: 4})  # next offsets; others were added since
        ends = reader.end_offsets()                   # {partition: offset}: what --until-end reads up to
        for block in reader.poll(timeout=0.5):        # [] when nothing came in time
            decoder.decode(block.buffer, block.starts, block.ends,
                           (block.key_starts, block.key_ends), block.timestamps)

A `KafkaBlock` is at most 32,768 records of one partition. It may hold none: control batches, aborted
transactions and compacted offsets move `KafkaBlock.next_offset` on, which is what an epoch records.
`poll` goes round the partitions and hands out one block of each in turn. `TopicReader.read_to_end` tells for
which partitions everything handed out so far was all there was, and when (µs): these may lift their clocks.

`poll` raises `Refused` where going on would lose or double records (a stored offset is not in the topic, or
the topic is another one by its id), `BadInput` for record batches that stay broken, `BadConfiguration` for a
topic that is missing or may not be read, `Unavailable` after `patience` seconds without an answer. Before
that, lost connections, leader changes and brokers that are away are tried again with growing pauses.

One `KafkaSource` serves many topics: a thread per broker fetches for all of them, each topic into its own
bounded queues, so that a topic nobody polls holds up no other; one more thread keeps the metadata fresh.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline.source.kafka.block import NO_TIMESTAMP, KafkaBlock, Records
from pipeline.source.kafka.headers import read_headers

if TYPE_CHECKING:
    from pipeline.source.kafka.reader import TopicReader
    from pipeline.source.kafka.source import KafkaSource, open_source

__all__ = [
    "NO_TIMESTAMP",
    "KafkaBlock",
    "KafkaSource",
    "Records",
    "TopicReader",
    "open_source",
    "read_headers",
]

_HOMES = {"KafkaSource": "source", "open_source": "source", "TopicReader": "reader"}


def __getattr__(name: str) -> Any:
    """Import what is asked for: loads of files need no client."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
