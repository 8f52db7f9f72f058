"""The first records of a JSON Lines file."""

import gzip
import io
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import zstandard

from pipeline.errors import BadInput

RECORDS = 100_000
_BYTES = 256 * 2**20
_ENVELOPE = {"timestamp", "key", "value"}
_MOST = 0.8
_INTEGER = re.compile(r"-?\d+")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _number(text: str) -> Decimal | int:
    """A number as it is; one beyond what Python's numbers reach as infinity: no type but json takes it."""
    try:
        return int(text) if _INTEGER.fullmatch(text) else Decimal(text)
    except (ValueError, ArithmeticError):
        return Decimal("Infinity")


_FAST = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse)
_ANY = json.JSONDecoder(parse_float=_number, parse_int=_number, parse_constant=_refuse)


@dataclass(frozen=True)
class Sample:
    """Records to infer from.

    Attributes:
        name: a dataset's name, from the file's.
        records: the JSON objects.
        lines: all lines as they were read, blank ones and those without an object, too.
        keys: the envelopes' keys, one per record; none if no envelope has one.
        tombstones: how many envelopes have no value.
        skipped: lines that are no JSON object.
        complete: the sample is the whole file.
        envelope: each line wrapped its record as `load --envelope` takes it.
    """

    name: str
    records: list[dict[str, Any]]
    skipped: int = 0
    complete: bool = True
    envelope: bool = False
    lines: list[bytes] = field(default_factory=list)
    keys: list[Any] = field(default_factory=list)
    tombstones: int = 0


def read_sample(file: str, limit: int = RECORDS) -> Sample:
    """Read up to `limit` records; `-` is standard input; .gz and .zst are unpacked.

    Raises:
        BadInput: when the file can't be read or holds no JSON objects, one per line.
    """
    records: list[dict[str, Any]] = []
    lines: list[bytes] = []
    skipped, complete, size = 0, True, 0
    with _opened(file) as stream:
        for line in stream:
            if len(records) >= limit or size > _BYTES:
                complete = False
                break
            size += len(line)
            lines.append(line.removesuffix(b"\n"))
            if not line.strip():
                continue
            record = _parsed(line)
            if record is None:
                skipped += 1
            else:
                records.append(record)
    if not records:
        raise BadInput(f"{file} has no JSON object on a line of its own.", next_step=_advice(skipped))
    wrapped = [record for record in records if _is_envelope(record)]
    if len(wrapped) >= _MOST * len(records):
        return _unwrapped(dataset_name(file), wrapped, skipped + len(records) - len(wrapped), complete, lines)
    return Sample(dataset_name(file), records, skipped, complete, lines=lines)


def _is_envelope(record: dict[str, Any]) -> bool:
    wrapping = set(record) <= _ENVELOPE and "value" in record and "timestamp" in record
    return wrapping and (record["value"] is None or isinstance(record["value"], dict))


def _unwrapped(
    name: str, envelopes: list[dict[str, Any]], skipped: int, complete: bool, lines: list[bytes]
) -> Sample:
    full = [envelope for envelope in envelopes if envelope["value"] is not None]
    keys = [envelope.get("key") for envelope in full]
    return Sample(
        name,
        [envelope["value"] for envelope in full] or [{}],
        skipped,
        complete,
        envelope=True,
        lines=lines,
        keys=keys if any(key is not None for key in keys) else [],
        tombstones=len(envelopes) - len(full),
    )


def dataset_name(file: str) -> str:
    """``data/Bonds-2024-01.jsonl.gz`` → ``bonds``; ``records`` for standard input."""
    stem = Path(file).name.split(".")[0]
    name = re.sub(r"[^a-z0-9]+", "_", stem.lower())
    name = re.sub(r"(_?\d{2,}|_(part|full|sample|export|dump|v\d+))+$", "", name).strip("_")
    return name if re.match(r"[a-z_]", name) else f"d_{name}" if name else "records"


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        value = _decoded(line.decode())
        if b"\\u" in line:
            _whole(value)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _decoded(text: str) -> Any:
    try:
        return _FAST.decode(text)
    except (ValueError, ArithmeticError):  # no JSON, or a number beyond Python's
        return _ANY.decode(text)


def _whole(value: Any) -> None:
    """Raise a ValueError if a text has half of a surrogate pair: `load` does not take it either."""
    json.dumps(value, ensure_ascii=False, default=str).encode()


def _advice(skipped: int) -> str:
    if skipped:
        return "Give JSON Lines, one object a line; `jq -c '.[]' FILE` takes a list of objects apart."
    return "Give a file with at least one record."


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(file).open("rb") as raw:
            yield _unpacked(file, raw)
    except FileNotFoundError:
        problem, fix = "does not exist", "Give the path of a JSON Lines file, or - for standard input."
    except (gzip.BadGzipFile, EOFError, zstandard.ZstdError):
        problem, fix = "can't be unpacked", "Its ending (.gz, .zst) must fit its content; is it complete?"
    except OSError as error:
        problem, fix = f"can't be read: {error.strerror}", "Give the path of a file that you may read."
    else:
        return
    raise BadInput(f"{file} {problem}.", next_step=fix)


def _unpacked(file: str, raw: IO[bytes]) -> IO[bytes]:
    if file.endswith(".gz"):
        return io.BufferedReader(gzip.GzipFile(fileobj=raw))
    if file.endswith((".zst", ".zstd")):
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True))
    head = raw.read(3)
    if head != b"\xef\xbb\xbf":
        raw.seek(0)
    return raw
