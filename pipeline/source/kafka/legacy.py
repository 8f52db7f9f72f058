"""Message formats from before Kafka 0.11: read by kafka-python, one record at a time.

Brokers keep such messages as they were written. They are rare, so that speed does not matter.
"""

from kafka.errors import CorruptRecordError, UnsupportedCodecError
from kafka.record.memory_records import MemoryRecords

from pipeline.errors import BadConfiguration
from pipeline.source.kafka.assembled import Assembly
from pipeline.source.kafka.block import Records


def read_old_batches(raw: bytes, position: int) -> tuple[Records, bool]:
    """Read whole batches of magic 0 and 1; see `Unpacker.read`.

    Raises:
        CorruptRecordError: a checksum does not fit.
        BadConfiguration: they are compressed by what this Python has no library for.
    """
    found, log_append = Assembly(), False
    try:
        for batch in MemoryRecords(raw):
            if not batch.validate_crc():
                raise CorruptRecordError
            for record in batch:
                if record.offset < position:
                    continue
                log_append |= record.timestamp_type == 1
                found.add(record.value, record.key, b"\0", record.offset, record.timestamp)
    except UnsupportedCodecError as error:
        raise BadConfiguration(
            f"records in an old format can't be decompressed: {error}",
            next_step="install what it names beside bitlake, or write the topic anew with a current producer",
        ) from error
    return found.records(), log_append
