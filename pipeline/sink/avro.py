"""Avro files rewritten record by record: every field of every schema is kept as it was.

Iceberg's writers put more into manifests than pyiceberg's classes hold, and its own writers would leave that
out. The format: https://avro.apache.org/docs/1.12.0/specification/.
"""

import json
import zlib
from collections.abc import Callable
from typing import Any

import zstandard

from pipeline.errors import Refused

_MAGIC, _SYNC = b"Obj\x01", 16
_FIXED = {"boolean": 1, "float": 4, "double": 8}

Read = Callable[[bytes, int], tuple[Any, int]]
Write = Callable[[Any, bytearray], None]


def rewrite(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The same file with every record changed in place by `change`.

    Records are dicts, arrays lists, a branch of a union is ``(number, value)``, floats and fixed are bytes.

    Raises:
        Refused: the file is not Avro, or is compressed in a way that is not known here.
    """
    if data[:4] != _MAGIC:
        raise Refused("a manifest is no Avro file", next_step="restore the warehouse from a backup")
    header, at = _map(data, 4)
    sync, at = data[at : at + _SYNC], at + _SYNC
    unpack, pack = _codec(header.get("avro.codec", b"null").decode())
    read, write = _codecs(json.loads(header["avro.schema"]), {})
    out = bytearray(data[:at])
    while at < len(data):
        count, at = _long(data, at)
        size, at = _long(data, at)
        block, at = unpack(data[at : at + size]), at + size + _SYNC
        place, written = 0, bytearray()
        for _ in range(count):
            record, place = read(block, place)
            change(record)
            write(record, written)
        packed = pack(bytes(written))
        _put_long(count, out)
        _put_long(len(packed), out)
        out += packed + sync
    return bytes(out)


def _codec(name: str) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    match name:
        case "null":
            return bytes, bytes
        case "deflate":
            return _inflated, _deflated
        case "zstandard":
            return zstandard.decompress, zstandard.compress
    raise Refused(
        f"manifests are compressed with {name}",
        next_step="have their writer rewrite them (write.avro.compression-codec: gzip), then try again",
    )


def _inflated(block: bytes) -> bytes:
    return zlib.decompress(block, -15)


def _deflated(block: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(block) + packer.flush()


def _codecs(schema: Any, named: dict[str, tuple[Read, Write]]) -> tuple[Read, Write]:
    """What reads and writes a value of a schema; `named` are the types that were defined so far."""
    if isinstance(schema, list):
        return _union([_codecs(branch, named) for branch in schema])
    if isinstance(schema, str):
        return named[schema] if schema in named else _primitive(schema)
    match schema["type"]:
        case "record":
            made = _record([(f["name"], *_codecs(f["type"], named)) for f in schema["fields"]])
        case "array":
            return _array(*_codecs(schema["items"], named))
        case "map":
            entry = _record([("key", _bytes, _put_bytes), ("value", *_codecs(schema["values"], named))])
            return _array(*entry)
        case "fixed":
            made = _raw(int(schema["size"]))
        case "enum":
            made = (_long, _put_long)
        case other:
            return _codecs(other, named)
    name = str(schema["name"])
    for full in (name, f"{schema.get('namespace')}.{name}"):
        named[full] = made
    return made


def _primitive(name: str) -> tuple[Read, Write]:
    if name in ("int", "long"):
        return _long, _put_long
    if name in ("bytes", "string"):
        return _bytes, _put_bytes
    return _raw(0 if name == "null" else _FIXED[name])


def _raw(size: int) -> tuple[Read, Write]:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        return data[at : at + size], at + size

    def write(value: Any, out: bytearray) -> None:
        out += value

    return read, write


def _record(fields: list[tuple[str, Read, Write]]) -> tuple[Read, Write]:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        record = {}
        for name, one, _ in fields:
            record[name], at = one(data, at)
        return record, at

    def write(value: Any, out: bytearray) -> None:
        for name, _, one in fields:
            one(value[name], out)

    return read, write


def _union(branches: list[tuple[Read, Write]]) -> tuple[Read, Write]:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        branch, at = _long(data, at)
        value, at = branches[branch][0](data, at)
        return (branch, value), at

    def write(value: Any, out: bytearray) -> None:
        _put_long(value[0], out)
        branches[value[0]][1](value[1], out)

    return read, write


def _array(item: Read, put: Write) -> tuple[Read, Write]:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        items = list[Any]()
        while True:
            count, at = _long(data, at)
            if count == 0:
                return items, at
            if count < 0:
                _, at = _long(data, at)
            for _ in range(abs(count)):
                value, at = item(data, at)
                items.append(value)

    def write(value: Any, out: bytearray) -> None:
        if value:
            _put_long(len(value), out)
            for one in value:
                put(one, out)
        out.append(0)

    return read, write


def _map(data: bytes, at: int) -> tuple[dict[str, bytes], int]:
    entry, _ = _record([("key", _bytes, _put_bytes), ("value", _bytes, _put_bytes)])
    entries, at = _array(entry, _put_bytes)[0](data, at)
    return {e["key"].decode(): e["value"] for e in entries}, at


def _long(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    at += 1
    value, shift = byte & 0x7F, 7
    while byte & 0x80:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
    return (value >> 1) ^ -(value & 1), at


def _put_long(value: int, out: bytearray) -> None:
    value = (value << 1) ^ (value >> 63)
    while value & ~0x7F:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _long(data, at)
    return data[at : at + size], at + size


def _put_bytes(value: bytes, out: bytearray) -> None:
    _put_long(len(value), out)
    out += value
