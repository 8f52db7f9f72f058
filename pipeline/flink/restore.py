"""Which checkpoint or savepoint a job may go on from: one that holds all that the tables hold."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

import pyarrow.fs as fs

from pipeline.errors import BadInput, Refused
from pipeline.flink.job import Job
from pipeline.sink.epoch import FLINK, FlinkRun
from pipeline.sink.ledger import Metadata, flink_checkpoints, newest_summary

_MAGIC = 0x4960672D
_HEAD = struct.Struct(">iiq")


@dataclass(frozen=True)
class RestorePoint:
    """A checkpoint or savepoint.

    Attributes:
        location: its folder, as Flink names it.
        checkpoint: its number.
    """

    location: str
    checkpoint: int


def restore_point(
    job: Job,
    wanted: str | None,
    checkpoints: str | None,
    catalog: Mapping[str, Any],
    tables: Sequence[tuple[Metadata[Any], str]],
) -> RestorePoint | None:
    """The newest restore point of a run; None where the tables alone tell enough to go on.

    Args:
        job: the run's newest.
        wanted: the only one to go on from, if there is one.
        checkpoints: the folder of Flink's checkpoints, if it has one.
        catalog: where credentials for an object store are.
        tables: the tables' metadata, each with its dataset.

    Raises:
        Refused: `wanted` is older than the tables; or those of a dataset hold parts of a checkpoint that no
            restore point has: going on from an older one would write rows twice, going on from the tables
            would lose some.
    """
    done = [(dataset, *_committed(metadata, dataset, job.run)) for metadata, dataset in tables]
    most = max((high for _, _, high in done), default=0)
    found = [_read(wanted, catalog)] if wanted else list(_known(job, checkpoints, catalog))
    best = max(found, key=lambda point: point.checkpoint, default=None)
    if best is not None and best.checkpoint >= most:
        return best
    if wanted is not None:
        raise Refused(
            f"{wanted} is older than the tables: they hold checkpoint {most} of the Flink job",
            next_step="leave --from-savepoint out: the job goes on from what holds all, or from the tables",
        )
    highest = {name: max(high for one, _, high in done if one == name) for name, _, _ in done}
    if all(low == highest[name] for name, low, _ in done):
        return None
    older = f"; the newest restore point is of checkpoint {best.checkpoint}" if best else ""
    raise Refused(
        f"the tables hold checkpoint {most} of the Flink job in part{older}",
        next_step="give the checkpoint or savepoint that holds it: `bitlake submit --from-savepoint PLACE`",
    )


def _committed(metadata: Metadata[Any], dataset: str, run: str) -> tuple[int, int]:
    """The last checkpoint that all of a run's sinks, and any of them, have committed to a table."""
    summary = newest_summary(metadata, dataset)
    if summary is None or FLINK not in summary:
        return 0, 0
    found = FlinkRun.of(summary)
    done = flink_checkpoints(metadata, dataset, found) if found.run == run else []
    return (min(done) if len(done) == found.sinks else 0), max(done, default=0)


def _known(job: Job, checkpoints: str | None, catalog: Mapping[str, Any]) -> Iterator[RestorePoint]:
    if job.savepoint:
        yield _read(job.savepoint, catalog)
    if job.began:
        with suppress(BadInput):  # it is of use only to a job that ended before its first checkpoint
            yield _read(job.began, catalog)
    for one in job.jobs if checkpoints else ():
        yield from _listed(f"{str(checkpoints).rstrip('/')}/{one}", catalog)


def _listed(folder: str, catalog: Mapping[str, Any]) -> Iterator[RestorePoint]:
    system, path = _system(folder, catalog)
    for entry in system.get_file_info(fs.FileSelector(path, allow_not_found=True)):
        if entry.base_name.startswith("chk-") and _exists(system, f"{entry.path}/_metadata"):
            yield RestorePoint(f"{folder}/{entry.base_name}", int(entry.base_name.removeprefix("chk-")))


def _read(location: str, catalog: Mapping[str, Any]) -> RestorePoint:
    """A savepoint: its number is at the beginning of its metadata (Flink's MetadataV4Serializer)."""
    system, path = _system(location, catalog)
    try:
        with system.open_input_stream(f"{path.rstrip('/')}/_metadata") as stream:
            magic, version, checkpoint = _HEAD.unpack(stream.read(_HEAD.size))
    except (OSError, struct.error) as error:
        raise BadInput(
            f"there is no savepoint at {location}: {error}", next_step="give the folder that holds _metadata"
        ) from error
    if magic != _MAGIC or version < 3:
        raise BadInput(f"{location} holds no savepoint of Flink 1.11 or newer", next_step="give another one")
    return RestorePoint(location, checkpoint)


def _exists(system: fs.FileSystem, path: str) -> bool:
    return bool(system.get_file_info(path).type == fs.FileType.File)


def _system(location: str, catalog: Mapping[str, Any]) -> tuple[fs.FileSystem, str]:
    url = urlparse(location)
    if url.scheme in ("", "file"):
        return fs.LocalFileSystem(), url.path
    endpoint = urlparse(str(catalog.get("s3.endpoint", "")))
    options = {
        "access_key": catalog.get("s3.access-key-id"),
        "secret_key": catalog.get("s3.secret-access-key"),
        "region": catalog.get("s3.region") or "us-east-1",
        "endpoint_override": endpoint.netloc or None,
        "scheme": endpoint.scheme or "https",
    }
    system = fs.S3FileSystem(**{key: value for key, value in options.items() if value is not None})
    return system, f"{url.netloc}{url.path}"
