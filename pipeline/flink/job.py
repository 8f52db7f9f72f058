"""The Flink job of datasets, as a property of their first tables remembers it; and how it is stopped."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.config import DatasetConfig, LakeConfig, dataset_schema
from pipeline.errors import BitlakeError, Refused, Unavailable
from pipeline.flink.cluster import ENDED, Cluster, NotRunning
from pipeline.sink.conventions import FLINK_JOB
from pipeline.sink.lake_sink import LakeSink
from pipeline.sink.lease import Tenant

log = logging.getLogger(__name__)

_SAVEPOINT_SECONDS = 600.0
_RUNNING_SECONDS = 90.0
"""For a job's tasks to run that is to be stopped: Flink takes up to 50 s to miss a TaskManager."""


@dataclass(frozen=True)
class Job:
    """A job as a table's property remembers it.

    Attributes:
        run: the line of jobs that it belongs to.
        jobs: their ids, the newest last.
        seed: of the keys' hashes.
        start: the summary of the position that the run began at.
        snapshots: by table, the snapshot that it began with.
        savepoint: where the newest job was stopped, if it was.
        began: the savepoint or checkpoint that the newest job began from.
        cluster: the address of its REST API.
        parallelism: of the newest job.
        token: tells the newest job's lease from those of the others of its run.
        datasets: all that the newest job writes.
        layout: what the bytes of its state mean (`pipeline.engine.layout`).
    """

    run: str
    jobs: tuple[str, ...]
    seed: int
    start: dict[str, str]
    snapshots: dict[str, int]
    savepoint: str | None = None
    began: str | None = None
    cluster: str = ""
    parallelism: int = 1
    token: str = ""
    datasets: tuple[str, ...] = ()
    layout: list[Any] | None = None

    @property
    def owner(self) -> str:
        """As whom it holds the lease."""
        return f"flink-{self.run}-{self.token}"

    def to_json(self) -> str:
        """As the table carries it."""
        return json.dumps(asdict(self))

    @staticmethod
    def of(properties: Mapping[str, str]) -> "Job | None":
        """The job in a table's properties."""
        text = properties.get(FLINK_JOB)
        if not text:
            return None
        content = json.loads(text)
        return Job(**{**content, "jobs": tuple(content["jobs"]), "datasets": tuple(content["datasets"])})


def stop_all(lake: LakeConfig, datasets: Sequence[DatasetConfig]) -> list[dict[str, Any]]:
    """Stop the jobs that write some datasets, with a savepoint each, and let go of all that they hold.

    One that has ended already only loses its leases: there is no new savepoint. Nor is there of one that does
    not come to run: it is cancelled, and its last checkpoint stays.

    Args:
        lake: the configuration.
        datasets: which of them.

    Returns:
        Of each job its id, its newest savepoint, and the seconds that it took to stop.

    Raises:
        Refused: no job writes them.
        BitlakeError: a job failed when it was to be stopped.
    """
    sink = LakeSink.at(lake.catalog, lake.dead_letters.table)
    wanted = {one.jobs[-1]: one for one in jobs_of(sink, datasets).values()}
    if not wanted:
        raise _none()
    told = []
    for job, one in wanted.items():
        begun, held = time.monotonic(), _held(sink, lake, job)
        cluster, place = Cluster.at(one.cluster) if one.cluster else Cluster(lake.flink), one.savepoint
        state = _state(cluster, job, lake)
        if state is None or state in ENDED:
            log.warning("job %s has ended before: there is nothing to stop", job)
        else:
            try:
                place = _stopped(cluster, job)
            except NotRunning as error:
                log.warning("%s: cancelled, without a savepoint; its last checkpoint stays", error.message)
                cluster.cancel(job)
                cluster.wait(job, patience=_SAVEPOINT_SECONDS)
        told.append(_remembered(sink, held, job, place, begun))
        _let_go(sink, lake, held)
    return told


def _let_go(sink: LakeSink, lake: LakeConfig, held: Mapping[str, Job]) -> None:
    """Fence a job off, should it run where nobody sees it, and end its leases."""
    for schema in map(dataset_schema, lake.datasets):
        if schema.parent.identifier in held:
            sink.claim(schema, Tenant("submit --stop", "`bitlake submit --stop`", 0), flink=True)
    sink.end_claims()


def stop_for_successor(lake: LakeConfig, job: str) -> dict[str, Any]:
    """Stop a job with a savepoint, for a successor that takes its leases.

    Returns:
        As `stop_all` tells of a job.

    Raises:
        Refused: it has ended, or another one took its place.
        BitlakeError: it failed when it was to be stopped, or does not run.
    """
    sink, cluster = LakeSink.at(lake.catalog, lake.dead_letters.table), Cluster(lake.flink)
    begun, held, state = time.monotonic(), _held(sink, lake, job), cluster.state(job)
    if not held or state is None or state in ENDED:
        raise Refused(
            f"job {job} has ended meanwhile, or another one took its place",
            next_step="`bitlake status` tells which runs; if none does, `bitlake submit` goes on",
        )
    return _remembered(sink, held, job, _stopped(cluster, job), begun)


def _state(cluster: Cluster, job: str, lake: LakeConfig) -> str | None:
    """A job's state; None, too, if its cluster is not lake.yaml's any more, and does not answer."""
    try:
        return cluster.state(job)
    except Unavailable:
        if cluster.url == Cluster(lake.flink).url:
            raise
        log.warning(
            "nobody answers at %s: should job %s run there, it can't commit any more", cluster.url, job
        )
        return None


def _stopped(cluster: Cluster, job: str) -> str:
    place = cluster.stop(job, running=_RUNNING_SECONDS, patience=_SAVEPOINT_SECONDS)
    ended = cluster.wait(job, patience=_SAVEPOINT_SECONDS)
    if ended != "FINISHED":
        raise BitlakeError(f"job {job} ended as {ended} after its savepoint: {cluster.reason(job)}")
    return place


def _held(sink: LakeSink, lake: LakeConfig, job: str) -> dict[str, Job]:
    """What the first tables of all a job's datasets remember of it."""
    return {name: one for name, one in jobs_of(sink, lake.datasets).items() if one.jobs[-1] == job}


def _remembered(
    sink: LakeSink, held: Mapping[str, Job], job: str, place: str | None, begun: float
) -> dict[str, Any]:
    seconds = round(time.monotonic() - begun, 3)
    for name, one in held.items():
        sink.set_properties(name, {FLINK_JOB: replace(one, savepoint=place).to_json()})
    return {"job": job, "savepoint": place, "seconds": seconds}


def running(lake: LakeConfig, datasets: Sequence[DatasetConfig]) -> Job:
    """The job that writes some datasets.

    Raises:
        Refused: none does, or several do.
    """
    sink, cluster = LakeSink.at(lake.catalog, lake.dead_letters.table), Cluster(lake.flink)
    known = {job.jobs[-1]: job for job in jobs_of(sink, datasets).values()}
    states = {job: cluster.state(job) for job in known}
    found = [known[job] for job, state in states.items() if state is not None and state not in ENDED]
    if not found:
        raise _none()
    if len(found) > 1:
        told = "; ".join(f"{job.jobs[-1]} ({', '.join(job.datasets)})" for job in found)
        raise Refused(f"several jobs write these datasets: {told}", next_step="name the datasets of one")
    return found[0]


def jobs_of(sink: LakeSink, datasets: Sequence[DatasetConfig]) -> dict[str, Job]:
    """The jobs that wrote datasets last, by their first table; none where there is no table yet."""
    names = [dataset_schema(config).parent.identifier for config in datasets]
    tables = {name: sink.find(name) for name in names}
    found = {name: Job.of(table.properties) for name, table in tables.items() if table is not None}
    return {name: job for name, job in found.items() if job is not None and job.jobs}


def _none() -> Refused:
    return Refused("no Flink job writes these datasets", next_step="`bitlake submit` starts one")
