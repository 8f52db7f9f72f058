"""Rows of the table of dead letters as messages."""

import json

import pyarrow as pa

from pipeline.sink.dead_letter_table import DEAD_LETTERS
from pipeline.sink.dead_letter_topic import BATCH_BYTES, batches, letter_of, original_headers

NOW = 1_700_000_000_000
ROW = {
    "id": "bonds/t/2/17/4",
    "dataset": "bonds",
    "epoch": 4,
    "topic": "t",
    "partition": 2,
    "offset": 17,
    "timestamp": (NOW - 5) * 1000 + 7,
    "key": b"\xff",
    "value": b"{",
    "headers": json.dumps(
        [{"name": "trace", "value": "7"}, {"name": "raw", "base64": "/g=="}, {"name": "n", "value": None}]
    ),
    "stage": "json",
    "reason": "not JSON, at byte 1",
    "advice": "correct it",
    "system_time": NOW * 1000,
    "status": "dead",
}


def rows(*changes: dict) -> pa.Table:
    return pa.Table.from_pylist([ROW | change for change in changes], schema=DEAD_LETTERS)


def test_a_letter_has_the_records_parts_and_connects_headers():
    letter = letter_of(ROW, "bonds", NOW)
    assert (letter.timestamp, letter.key, letter.value) == (NOW, b"\xff", b"{")
    assert letter.headers[:3] == [("trace", b"7"), ("raw", b"\xfe"), ("n", None)]
    assert dict(letter.headers[3:]) == {
        "__connect.errors.topic": b"t",
        "__connect.errors.partition": b"2",
        "__connect.errors.offset": b"17",
        "__connect.errors.connector.name": b"bonds",
        "__connect.errors.task.id": b"0",
        "__connect.errors.stage": b"json",
        "__connect.errors.class.name": b"pipeline.decode.Decoder",
        "__connect.errors.exception.class.name": b"pipeline.errors.BadInput",
        "__connect.errors.exception.message": b"not JSON, at byte 1; correct it",
        "bitlake.id": b"bonds/t/2/17/4",
        "bitlake.timestamp": str(NOW - 5).encode(),
    }


def test_a_record_without_a_timestamp():
    assert "bitlake.timestamp" not in dict(letter_of(ROW | {"timestamp": None}, "bonds", NOW).headers)


def test_an_envelope_is_told_by_a_header():
    assert original_headers('{"bitlake.envelope": true}') == [("bitlake.envelope", b"true")]
    assert original_headers(None) == []


def test_batches_keep_partitions_and_order_and_stay_small():
    big = b"x" * (BATCH_BYTES // 2)
    table = rows(
        *({"partition": n % 3, "offset": n, "value": big if n % 3 == 0 else b"v"} for n in range(9)),
        {"partition": -1, "offset": 9},
    )
    found = list(batches(table, 2, "bonds"))
    offsets: dict[int, list[int]] = {0: [], 1: []}
    for partition, letters in found:
        assert sum(len(letter.value or b"") for letter in letters) <= BATCH_BYTES
        offsets[partition] += [int(letter.identity == "bonds/t/2/17/4") for letter in letters]
    assert {partition: len(seen) for partition, seen in offsets.items()} == {0: 6, 1: 4}
    told = [
        (partition, int(dict(letter.headers)["__connect.errors.offset"]))
        for partition, letters in found
        for letter in letters
    ]
    for partition in (0, 1):
        mine = [offset for where, offset in told if where == partition]
        assert mine == sorted(mine)


def test_a_timestamp_beyond_what_python_knows_is_sent():
    ((_, (letter,)),) = list(batches(rows({"timestamp": 10**18}), 1, "bonds"))
    assert dict(letter.headers)["bitlake.timestamp"] == str(10**15).encode()
