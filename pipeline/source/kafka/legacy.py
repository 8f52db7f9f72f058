"""Message formats from before Kafka 0.11: read by kafka-python, one record at a time.

Brokers keep such messages as they were written. They are rare, so that speed does not matter.
"""

import numpy as np
from kafka.errors import CorruptRecordError, UnsupportedCodecError
from kafka.record.memory_records import MemoryRecords

from pipeline.errors import BadConfiguration
from pipeline.source.block import PADDING
from pipeline.source.kafka.block import NO_TIMESTAMP, Records


def read_old_batches(raw: bytes, position: int) -> tuple[Records, bool]:
    """Read whole batches of magic 0 and 1; see `Unpacker.read`.

    Raises:
        CorruptRecordError: a checksum does not fit.
        BadConfiguration: they are compressed by what this Python has no library for.
    """
    parts: list[bytes] = []
    rows: list[tuple[int, ...]] = []
    size = 0
    log_append = False

    def put(part: bytes | None) -> tuple[int, int]:
        nonlocal size
        if part is None:
            return -1, -1
        parts.append(part)
        size += len(part)
        return size - len(part), size

    try:
        for batch in MemoryRecords(raw):
            if not batch.validate_crc():
                raise CorruptRecordError
            for record in batch:
                if record.offset < position:
                    continue
                key, value = put(record.key), put(record.value)
                log_append |= record.timestamp_type == 1
                stamp = record.timestamp
                micros = NO_TIMESTAMP if stamp is None or stamp < 0 else stamp * 1000
                headers = put(b"\0")
                rows.append((*value, *key, *headers, record.offset, micros))
    except UnsupportedCodecError as error:
        raise BadConfiguration(
            f"records in an old format can't be decompressed: {error}",
            next_step="install what it names beside bitlake, or write the topic anew with a current producer",
        ) from error
    buffer = np.zeros(size + PADDING, np.uint8)
    buffer[:size] = np.frombuffer(b"".join(parts), np.uint8)
    return Records(buffer, *np.array(rows, np.int64).reshape(-1, 8).T.copy()), log_append
