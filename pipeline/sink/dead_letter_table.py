"""The table of records that could not become changes; all datasets of a catalog share it."""

import pyarrow as pa

from pipeline.schema import INSTANT

DEAD_LETTERS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("epoch", pa.int64(), nullable=False),
        pa.field("topic", pa.string()),
        pa.field("partition", pa.int32()),
        pa.field("offset", pa.int64()),
        pa.field("timestamp", INSTANT),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", pa.string()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("advice", pa.string()),
        pa.field("system_time", INSTANT, nullable=False),
        pa.field("status", pa.string(), nullable=False),
    ]
)
"""One row per dead letter, and one more (``status`` = ``replayed``) when it was replayed.

``id`` is ``<dataset>/<topic>/<partition>/<offset>/<epoch>``; ``value`` holds the original bytes. The second
row has the same id, the epoch and time of the replay, and neither key nor value.
"""

STAGES = (
    "json",
    "envelope",
    "key",
    "valid time",
    "operation",
    "column",
    "children",
    "new field",
    "system time",
)
"""The steps that refuse records, as ``stage`` names them."""

DOCS = {
    "id": "<dataset>/<topic>/<partition>/<offset>/<epoch>",
    "key": "the record's key, byte for byte",
    "value": "the record's value, byte for byte",
    "headers": "the record's headers as JSON",
    "stage": "the step that refused the record",
    "advice": "what to do about it",
    "status": "dead or replayed",
}
