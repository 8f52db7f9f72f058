"""Two of pyiceberg's readers of manifests, mended: partitions of doubles and of UUIDs.

pyiceberg 0.12 reads a double through a float (its merge of manifests would write that back), and a UUID as an
object that none of its filters finds equal to a value's bytes.
"""

import struct
from typing import Any

from pyiceberg.avro.reader import DoubleReader, UUIDReader

_DOUBLE = struct.Struct("<d")


def mend_readers() -> None:
    """Have this process read both as they were written; again is no harm."""
    reader: Any = DoubleReader
    reader.read = _read_double
    reader = UUIDReader
    reader.read = _read_uuid


def _read_double(_: DoubleReader, decoder: Any) -> float:
    value: float = _DOUBLE.unpack(decoder.read(8))[0]
    return value


def _read_uuid(_: UUIDReader, decoder: Any) -> bytes:
    return bytes(decoder.read(16))
