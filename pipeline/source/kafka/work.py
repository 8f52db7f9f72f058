"""What is asked of a partition, and what comes of it."""

from dataclasses import dataclass

from pipeline.source.kafka.block import KafkaBlock, Records
from pipeline.source.kafka.fetch import Fetched, Wanted
from pipeline.source.kafka.partition import Flow, Partition
from pipeline.source.kafka.records import Scanned

BLOCK_RECORDS = 32_768
_BYTES_PER_RECORD = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of a partition; void when its turn has changed."""

    flow: Flow
    partition: Partition
    turn: int
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Work:
    """What came, still to be unpacked."""

    asked: Asked
    fetched: Fetched
    scanned: Scanned
    fetched_at: int
    size: int


def blocks_of(work: Work, records: Records, log_append: bool) -> list[KafkaBlock]:
    """Records in blocks of at most `BLOCK_RECORDS`; one without records if there are none."""
    count = len(records)
    parts = max(-(-count // BLOCK_RECORDS), 1)
    ends = records.header_ends
    begin = work.scanned.begin if records.buffer is work.scanned.data else 0
    blocks = []
    first_offset = work.asked.wanted.offset
    for part in range(parts):
        first, end = count * part // parts, count * (part + 1) // parts
        last = part == parts - 1
        next_offset = work.scanned.next_offset if last else int(records.offsets[end - 1]) + 1
        blocks.append(
            KafkaBlock(
                *records.parts(first, end),
                topic=work.asked.wanted.topic,
                partition=work.asked.wanted.partition,
                first_offset=first_offset,
                next_offset=next_offset,
                log_append=log_append,
                high_watermark=work.fetched.high_watermark,
                last_stable_offset=work.fetched.last_stable_offset,
                fetched_at=work.fetched_at,
                nbytes=(int(ends[end - 1]) - begin if count else 0) + _BYTES_PER_RECORD * (end - first + 1),
            )
        )
        first_offset = next_offset
        begin = int(ends[end - 1]) if count else 0
    return blocks
