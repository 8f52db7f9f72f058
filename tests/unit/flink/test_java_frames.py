"""Frames that Python writes and Java reads, and those that Java writes and Python reads: bytes, without a cluster."""

import datetime as dt
import io
import json
import random
import struct
import sys
import types
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import NestedField

from pipeline.decode import Decoder
from pipeline.engine.changes import changes_of
from pipeline.flink.change_frames import ChangesFrame, group_of, split
from pipeline.flink.frames import END, End, Mark, end_of, mark_of, records_of
from pipeline.flink.letters import letters_frame
from pipeline.flink.rows import FRAME_BYTES, framed, stopping
from pipeline.schema import PROVENANCE, SYSTEM_COLUMNS, TableSchema
from pipeline.sink.dead_letter_table import DEAD_LETTERS
from pipeline.sink.dead_letter_topic import letter_of
from pipeline.sink.tables import iceberg_schema
from pipeline.sink.types import arrow_to_iceberg
from pipeline.source.block import PADDING
from pipeline.source.kafka import NO_TIMESTAMP, KafkaBlock, read_headers
from state.flink import LEFT, FlinkKeys, FlinkLog
from tests.java.running import Answers, JavaFailed, answers, sized
from tests.unit.decode.reading import child, column, dataset, decode, options
from tests.unit.sink.test_dead_letter_topic import NOW, ROW

pytestmark = pytest.mark.slow
MOST = 128
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def java() -> Iterator[Answers]:
    with answers() as asking:
        yield asking


# Raw records: Java writes, Python reads.

BLOBS: list[bytes | None] = [
    None,
    b"",
    b"\0",
    b"\xff" * 4,
    b"{}",
    b"\xff\xff\xff\xfe",
    bytes(70_000),
    b"\xed\xa0\x80",
]
NAMES = ["", "a", "é", "𝄞" * 40, "\0", "a" * 200]
OFFSETS = [0, 1, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1]
STAMPS = [-1, 0, 1, 1_790_000_000_123, 2**31, 253_402_300_799_999, (2**63 - 1) // 1000 + 5, 2**63 - 1]


class Sent:
    """A record for Java, and what Python has to read."""

    def __init__(self, luck: random.Random) -> None:
        self.partition = luck.choice((0, 1, 2, 300))
        self.offset, self.stamp = luck.choice(OFFSETS), luck.choice(STAMPS)
        self.appended = luck.random() < 0.5
        self.key, self.value = luck.choice(BLOBS), luck.choice((*BLOBS, luck.randbytes(luck.randrange(3000))))
        self.headers = [(luck.choice(NAMES), luck.choice(BLOBS)) for _ in range(luck.choice((0, 0, 1, 70)))]

    @property
    def script(self) -> bytes:
        head = struct.pack(">iqq?", self.partition, self.offset, self.stamp, self.appended)
        headers = [part for name, value in self.headers for part in (sized(name.encode()), sized(value))]
        return b"".join(
            (b"r", head, sized(self.key), sized(self.value), struct.pack(">i", len(self.headers)), *headers)
        )

    @property
    def told(self) -> tuple[Any, ...]:
        stamp = NO_TIMESTAMP if self.stamp < 0 else min(self.stamp * 1000, (2**63 - 1) // 1000 * 1000)
        return self.offset, stamp, self.key, self.value, self.headers


def told(block: KafkaBlock, i: int) -> tuple[Any, ...]:
    headers = read_headers(block.headers(i))
    return int(block.offsets[i]), int(block.timestamps[i]), block.key(i), block.value(i), headers


@pytest.mark.parametrize("seed", range(6))
def test_records_that_java_gathers_are_read_here(java: Answers, seed: int) -> None:
    luck = random.Random(seed)
    script, sent, now = [], [Sent(luck) for _ in range(200)], 0
    before: dict[int, int] = dict.fromkeys((0, 1, 2, 300), 0)
    at_barrier: dict[int, dict[int, int]] = {}
    for number, record in enumerate(sent):
        script.append(record.script)
        before[record.partition] += 1
        if luck.random() < 0.05:
            at_barrier[number] = dict(before)
            script.append(b"b" + struct.pack(">q", number))
        if luck.random() < 0.1:
            now += luck.randrange(150)
            script.append(b"t" + struct.pack(">q", now))
    at_barrier[END] = dict(before)
    answer = java.ask("gather", "bonds", b"".join((*script, b"e")))
    found: dict[int, list[tuple[Any, ...]]] = {partition: [] for partition in before}
    keys: dict[int, set[bytes | None]] = {partition: set() for partition in before}
    marked: dict[int, list[int]] = {partition: [] for partition in before}
    for key, frame in zip(answer[::2], answer[1::2], strict=True):
        assert frame is not None
        assert end_of(frame) is None
        if mark := mark_of(frame):
            assert len(found[mark.of]) == at_barrier[mark.checkpoint][mark.of]
            marked[mark.of].append(mark.checkpoint)
            keys[mark.of].add(key)
            continue
        assert frame[-PADDING:] == bytes(PADDING)
        block = records_of(frame, "bonds", 0)
        assert len(block) > 0
        keys[block.partition].add(key)
        found[block.partition] += [told(block, i) for i in range(len(block))]
    for partition, records in found.items():
        assert records == [one.told for one in sent if one.partition == partition]
        assert len(keys[partition]) == 1
        assert marked[partition] == [at for at, seen in at_barrier.items() if seen[partition]]
    assert len(set.union(*keys.values())) == len(keys)


@pytest.mark.parametrize("appended", [(True, True), (True, False), (False, False)])
def test_a_frame_is_of_append_times_if_all_its_records_are(
    java: Answers, appended: tuple[bool, bool]
) -> None:
    records = [Sent(random.Random(seed)) for seed in (1, 2)]
    for record, one in zip(records, appended, strict=True):
        record.partition, record.appended, record.value = 0, one, b"{}"
        record.key, record.headers = None, []
    _, frame, *_ = java.ask("gather", "bonds", b"".join((*(record.script for record in records), b"e")))
    assert frame is not None
    assert records_of(frame, "bonds", 0).log_append == all(appended)


def test_ends_that_java_tells_are_read_here(java: Answers) -> None:
    ends = [end_of(frame or b"") for frame in java.ask("ends")]
    now = int(dt.datetime.now(dt.UTC).timestamp() * 1e6)
    assert [(end.partition, end.offset) for end in ends if end] == [(0, 0), (1, 10), (2, 20)]
    assert all(isinstance(end, End) and now - 60_000_000 < end.asked <= now for end in ends)


# Changes: Python writes, Java sends them by key group.


@pytest.mark.parametrize("most", [1, 8, MOST])
def test_changes_come_to_the_group_of_their_keys_and_marks_after_them(java: Answers, most: int) -> None:
    luck = random.Random(most)
    groups = np.array([int(one or b"") for one in java.ask("groups", most)])
    schema = dataset(
        column("a", "long"), children=[child(["calls"], [column("on")], column("rate", "double"))]
    )
    lines = [
        json.dumps(
            {"k": f"{luck.random()}" * luck.choice((1, 30)), "v": "2024-01-01", "calls": [{"on": "é"}]}
        )
        for _ in range(300)
    ]
    batch = decode(Decoder(schema, options()), *lines)
    changes = changes_of(batch, np.arange(300), np.full(300, 1_790_000_000_000_000))
    frames = split(batch, changes, 3, groups)
    hostile = [b"\xfc\0\0\0\0", b"\xff" * 9, bytes((2, 0, 0, 0)), next(framed(1, [pa.table({"n": [1]})]))]
    answer = java.ask("changes", most, *(frame for _, frame in frames), *hostile)
    sent = [*zip(answer[::3], answer[1::3], answer[2::3], strict=True)]
    through, marks = sent[: len(frames)], sent[len(frames) :]
    for (number, frame), (group, key, seen) in zip(frames, through, strict=True):
        assert (int(group or b""), int(key or b""), seen) == (number, groups[number], frame)
        assert ChangesFrame.of(seen or b"").partition == 3
    expected = np.bincount(group_of(batch.key_hash.view(np.int64), most), minlength=most)
    assert [ChangesFrame.of(frame).changes for _, frame in frames] == [
        expected[number] for number, _ in frames
    ]
    assert len(marks) == 2 * most
    for i, (group, key, mark) in enumerate(marks):
        assert mark_of(mark or b"") == Mark(i % most, 7 if i < most else END)
        assert (int(group or b""), int(key or b"")) == (i % most, groups[i % most])


@pytest.mark.parametrize("why", ["", "column 'é' is new", "𝄞\n\0" * 1000])
def test_java_ends_the_job_for_the_reason_that_a_frame_gives(java: Answers, why: str) -> None:
    for question in ("changes", "filter"):
        with pytest.raises(JavaFailed) as failed:
            java.ask(question, 8, stopping(why))
        assert str(failed.value) == f"Stop: {why}"


# Rows: Python writes, Java reads, and writes them as Iceberg's sink does.

COLUMNS = (
    *(
        column(kind, kind)
        for kind in ("string", "boolean", "int", "long", "float", "double", "date", "timestamp")
    ),
    *(column(kind, kind) for kind in ("uuid", "binary", "json")),
    *(
        column(kind.translate(str.maketrans("(,)", "___")), kind)
        for kind in ("decimal(18,3)", "decimal(38,10)", "decimal(9,9)")
    ),
    column("closed_by_trader"),
)
KEY = (column("k", "long"),)
HOSTILE: dict[str, list[Any]] = {
    "string": ["", "a", "Zoë 𝄞", "\0", "x" * 100_000, "�"],
    "boolean": [True, False],
    "int": [0, -(2**31), 2**31 - 1],
    "long": [0, -(2**63), 2**63 - 1],
    "float": [0.0, -0.0, float("inf"), float("-inf"), 1.401298464324817e-45, 3.4028234663852886e38],
    "double": [0.0, -0.0, float("inf"), float("-inf"), 5e-324, 1.7976931348623157e308],
    "date": [dt.date(1, 1, 1), dt.date(1969, 12, 31), dt.date(1970, 1, 1), dt.date(9999, 12, 31)],
    "timestamp": [
        EPOCH + dt.timedelta(microseconds=micros)
        for micros in (
            0,
            -1,
            1,
            -999,
            -1000,
            -1001,
            -62_135_596_800_000_000,
            -62_135_596_799_999_999,
            253_402_300_799_999_999,
        )
    ],
    "uuid": [bytes(16), b"\xff" * 16, uuid.UUID(int=1).bytes],
    "binary": [b"", b"\0", b"\xff" * 300, bytes(1000)],
    "json": ["{}", '"é"', "[1e400]"],
    "decimal_18_3_": [Decimal("0.000"), Decimal("-999999999999999.999"), Decimal("999999999999999.999")],
    "decimal_38_10_": [Decimal("0E-10"), Decimal("-" + "9" * 28 + ".9999999999"), Decimal("0.0000000001")],
    "decimal_9_9_": [Decimal("0.999999999"), Decimal("-0.000000001")],
    "closed_by_trader": ["ann", ""],
}


def table_of(*, dated: bool) -> TableSchema:
    return TableSchema("d", "x.d", (), (), KEY, COLUMNS, dated=dated)


def rows_of(schema: pa.Schema, luck: random.Random, n: int) -> pa.Table:
    valid = HOSTILE["date" if pa.types.is_date(schema.field("valid_from").type) else "timestamp"]
    choices = HOSTILE | {
        "k": HOSTILE["long"],
        "valid_from": valid,
        "valid_to": valid,
        **dict.fromkeys(SYSTEM_COLUMNS, HOSTILE["timestamp"]),
        **{
            name: HOSTILE[{"string": "string", "int32": "int", "int64": "long"}[str(t)]]
            for name, t in PROVENANCE.items()
        },
    }

    def value(field: pa.Field) -> Any:
        return None if field.nullable and luck.random() < 0.2 else luck.choice(choices[field.name])

    return pa.table(
        [
            pa.array([value(field) for _ in range(n)], storage(field.type)).cast(field.type)
            for field in schema
        ],
        schema=schema,
    )


def storage(type_: pa.DataType) -> pa.DataType:
    return pa.binary(16) if isinstance(type_, pa.UuidType) else type_


def read(file: bytes | None, schema: pa.Schema) -> pa.Table:
    """A Parquet file of Java's, in the types that were written here."""
    assert file is not None
    table = pq.read_table(io.BytesIO(file)).select(schema.names)
    columns = [_stored(column).cast(storage(f.type)) for column, f in zip(table.columns, schema, strict=True)]
    return pa.table(columns, names=schema.names)


def _stored(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if isinstance(column.type, pa.UuidType):
        return pa.chunked_array([chunk.storage for chunk in column.chunks], pa.binary(16))
    return column


def plain(rows: pa.Table) -> pa.Table:
    return pa.table([_stored(column) for column in rows.columns], names=rows.column_names)


def assert_same(found: pa.Table, rows: pa.Table) -> None:
    """Bit by bit: zeros have signs."""
    wanted = plain(rows)
    assert found.num_rows == wanted.num_rows
    for name in wanted.column_names:
        a, b = found[name].combine_chunks(), wanted[name].combine_chunks()
        assert a.equals(b), name
        if pa.types.is_floating(a.type):
            signs = [np.signbit(one.fill_null(0).to_numpy(zero_copy_only=False)) for one in (a, b)]
            assert (signs[0] == signs[1]).all(), name


@pytest.mark.parametrize("dated", [False, True])
def test_rows_of_every_type_come_to_iceberg_as_they_were(java: Answers, dated: bool) -> None:
    table = table_of(dated=dated)
    rows = rows_of(table.arrow, random.Random(dated), 500)
    shuffled = rows.select(random.Random(1).sample(rows.column_names, len(rows.column_names)))
    frames = [*framed(4, [rows.slice(0, 300), rows.slice(300, 0)]), *framed(4, [shuffled.slice(300)])]
    inserts, deletes, kinds = java.ask("rows", 4, iceberg_schema(table).model_dump_json(), *frames)
    assert kinds == b"I" * 500
    assert deletes is None
    assert_same(read(inserts, table.arrow), rows)


def test_closed_rows_replace_their_open_ones(java: Answers) -> None:
    table = table_of(dated=False)
    rows = rows_of(table.arrow, random.Random(3), 200)
    inserts, deletes, kinds = java.ask("rows", 4, iceberg_schema(table).model_dump_json(), *framed(5, [rows]))
    assert kinds == b"DI" * 200
    assert_same(read(inserts, table.arrow), rows)
    end = pa.scalar(dt.datetime(9999, 12, 31, tzinfo=dt.UTC), table.arrow.field("system_to").type)
    wanted = rows
    for name, type_ in PROVENANCE.items():
        if name.startswith("closed_by_"):
            wanted = wanted.set_column(wanted.column_names.index(name), name, pa.nulls(200, type_))
    at = wanted.column_names.index("system_to")
    wanted = wanted.set_column(at, "system_to", pa.array([end.as_py()] * 200, end.type))
    assert_same(read(deletes, table.arrow), wanted)


def test_columns_that_a_frame_lacks_are_null_and_those_that_the_table_lacks_are_left_out(
    java: Answers,
) -> None:
    table = table_of(dated=False)
    rows = rows_of(table.arrow, random.Random(4), 50)
    lacking = rows.drop_columns([one.name for one in COLUMNS]).append_column("other", pa.array(["x"] * 50))
    inserts, _, _ = java.ask("rows", 4, iceberg_schema(table).model_dump_json(), *framed(4, [lacking]))
    for one in COLUMNS:
        at = rows.column_names.index(one.name)
        rows = rows.set_column(at, one.name, pa.nulls(50, storage(one.type.arrow)))
    assert_same(read(inserts, table.arrow), rows)


def test_rows_that_take_many_frames(java: Answers) -> None:
    table = TableSchema("d", "x.d", (), (), KEY, (column("string"),))
    luck, n = random.Random(5), 60
    rows = rows_of(table.arrow, luck, n)
    texts = pa.array([chr(97 + i % 26) * luck.randrange(FRAME_BYTES // 8) for i in range(n)])
    rows = rows.set_column(1, "string", texts.dictionary_encode())
    frames = [*framed(4, [rows])]
    assert len(frames) > 1
    inserts, _, _ = java.ask("rows", 4, iceberg_schema(table).model_dump_json(), *frames)
    assert_same(read(inserts, table.arrow), rows.set_column(1, "string", texts))


def test_dead_letters_come_to_iceberg_as_they_were(java: Answers) -> None:
    schema = Schema(
        *(
            NestedField(number, f.name, arrow_to_iceberg(f.type), not f.nullable)
            for number, f in enumerate(DEAD_LETTERS, 1)
        )
    )
    rows = dead_rows()
    inserts, _, kinds = java.ask("rows", 254, schema.model_dump_json(), *framed(254, [rows]))
    assert kinds == b"I" * len(rows)
    assert_same(read(inserts, DEAD_LETTERS), rows)


# Dead letters as messages: Python writes, Java sends.


def dead_rows() -> pa.Table:
    changes: list[dict[str, Any]] = [
        {},
        {"key": None, "value": None, "headers": None, "timestamp": None},
        {"key": b"", "value": b"\0\xff", "partition": 1_000_001, "offset": 2**63 - 1},
        {"value": bytes(200_000), "reason": "é 𝄞\0", "advice": None},
        {"headers": json.dumps([{"name": "é", "base64": "/w=="}] * 300), "partition": 3},
        {"headers": '{"bitlake.envelope": true}', "timestamp": -1, "partition": -1},
    ]
    return pa.Table.from_pylist([ROW | change for change in changes], schema=DEAD_LETTERS)


def test_letters_are_sent_as_they_were_written(java: Answers) -> None:
    rows = dead_rows()
    frames = [letters_frame(rows, "bonds"), b"\xfe\0\0\0\1", letters_frame(rows.slice(1, 2), "bonds")]
    answer = iter(java.ask("letters", *frames))
    found = []
    for partition in answer:
        key, value, count = next(answer), next(answer), int(next(answer) or b"")
        headers = [((next(answer) or b"").decode(), next(answer)) for _ in range(count)]
        found.append((int(partition or b""), key, value, headers))
    at = rows.schema.get_field_index("timestamp")
    told_rows = rows.set_column(at, "timestamp", rows["timestamp"].cast(pa.int64())).to_pylist()
    wanted = []
    for row in [*told_rows, *told_rows[1:3]]:
        letter = letter_of(row, "bonds", NOW)
        wanted.append((row["partition"] % 4, letter.key, letter.value, [*letter.headers]))
    assert found == wanted


# State: Python's side of it on RocksDB.


class Crossing:
    """`bitlake.States` and a map state as PyFlink gives them, in the process of the tests."""

    def __init__(self, java: Answers) -> None:
        self.java, self._state = java, self

    def getMany(self, state: Any, keys: bytes) -> bytes:  # noqa: N802
        return self.java.ask("getMany", keys)[0] or b""

    def putMany(self, state: Any, entries: bytes) -> None:  # noqa: N802
        self.java.ask("putMany", entries)

    def leave(self, state: Any, before: int) -> int:
        return int(self.java.ask("leave", before)[0] or b"")

    def values(self, state: Any) -> bytes:
        return self.java.ask("values")[0] or b""

    def clear(self) -> None:
        self.java.ask("clear")


@pytest.fixture
def crossing(java: Answers, monkeypatch: pytest.MonkeyPatch) -> Crossing:
    found = Crossing(java)
    pemja = types.ModuleType("pemja")
    pemja.findClass = {"bitlake.States": found}.__getitem__  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pemja", pemja)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_keys_are_in_javas_state_as_they_were_stored(crossing: Crossing, seed: int) -> None:
    luck, model = random.Random(seed), dict[bytes, bytes]()
    crossing.java.ask("key", 1000 + seed)
    keys = FlinkKeys(crossing)
    names = [b"", b"\0", b"\xff" * 8, "é".encode(), *(luck.randbytes(luck.randrange(50)) for _ in range(50))]
    for _ in range(40):
        some = luck.sample(names, luck.randrange(20))
        values = [
            struct.pack("<q", luck.choice((0, -1, 5, 6, 2**62))) + luck.randbytes(luck.choice((0, 10, 5000)))
            if luck.random() < 0.8
            else luck.choice((b"", LEFT, b"short"))
            for _ in some
        ]
        keys.store(some, values)
        model.update(zip(some, values, strict=True))
        if luck.random() < 0.2:
            old = [
                name
                for name, value in model.items()
                if len(value) >= 8 and 0 != struct.unpack_from("<q", value)[0] < 6
            ]
            assert keys.leave(6) == len(old)
            model |= dict.fromkeys(old, LEFT)
        asked = luck.choices(names, k=30)
        assert keys.keys(asked) == [model.get(name) for name in asked]


def test_entries_of_a_log_come_in_order_and_are_forgotten_together(crossing: Crossing) -> None:
    crossing.java.ask("key", 1)
    log = FlinkLog(crossing)
    entries = [random.Random(number).randbytes(number % 7 * 100) for number in range(300)]
    for number in random.Random(0).sample(range(300), 300):
        log.append(number, entries[number])
    crossing.java.ask("key", 2)
    assert log.entries() == []
    crossing.java.ask("key", 1)
    assert log.entries() == entries
    log.clear()
    assert log.entries() == []
