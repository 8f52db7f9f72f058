"""The Flink job of datasets, as a property of their first tables remembers it; and how it is stopped."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.config import DatasetConfig, LakeConfig, dataset_schema
from pipeline.errors import BitlakeError, Refused
from pipeline.flink.cluster import ENDED, Cluster, NotRunning
from pipeline.sink.conventions import FLINK_JOB
from pipeline.sink.lake_sink import LakeSink

log = logging.getLogger(__name__)

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


def stop(
    lake: LakeConfig, datasets: Sequence[DatasetConfig], *, folder: str | None = None, give_up: bool = True
) -> dict[str, Any]:
    """Stop the job that writes some datasets, with a savepoint, and let go of their leases.

    One that has ended already only loses its leases: there is no new savepoint. Nor is there of one that does
    not come to run: it is cancelled if its leases are to be given up, and its last checkpoint stays.

    Args:
        lake: the configuration.
        datasets: which of them.
        folder: for the savepoint, if not as Flink is configured.
        give_up: let go of the leases; else its successor takes them.

    Returns:
        The job's id, its newest savepoint, and the seconds that it took to stop.

    Raises:
        Refused: no job writes them; or it has ended already, and the leases were to be kept.
        BitlakeError: the job failed when it was to be stopped, or does not run.
    """
    sink, cluster = LakeSink.at(lake.catalog, lake.dead_letters.table), Cluster(lake.flink)
    jobs = jobs_of(sink, datasets)
    job, begun = newest_of(jobs), time.monotonic()
    state, place = cluster.state(job.jobs[-1]), job.savepoint
    if state is not None and state not in ENDED:
        try:
            place = _stopped(cluster, job.jobs[-1], folder)
        except NotRunning as error:
            if not give_up:
                raise
            log.warning("%s: cancelled, without a savepoint; its last checkpoint stays", error.message)
            cluster.cancel(job.jobs[-1])
            cluster.wait(job.jobs[-1], patience=600)
    elif not give_up:
        raise Refused(
            f"job {job.jobs[-1]} has ended before it could be stopped",
            next_step="`bitlake submit` goes on from its last checkpoint",
        )
    else:
        log.warning("job %s has ended before: there is nothing to stop", job.jobs[-1])
    seconds = round(time.monotonic() - begun, 3)
    for name, one in jobs.items():
        sink.set_properties(name, {FLINK_JOB: replace(one, savepoint=place).to_json()})
        if give_up:
            sink.give_up_lease(name, one.owner)
    return {"job": job.jobs[-1], "savepoint": place, "seconds": seconds}


def _stopped(cluster: Cluster, job: str, folder: str | None) -> str:
    place = cluster.stop(job, folder, running=_RUNNING_SECONDS)
    ended = cluster.wait(job, patience=600)
    if ended != "FINISHED":
        raise BitlakeError(f"job {job} ended as {ended} after its savepoint: {cluster.reason(job)}")
    return place


def running(lake: LakeConfig, datasets: Sequence[DatasetConfig]) -> Job:
    """The job that writes some datasets.

    Raises:
        Refused: none does.
    """
    sink = LakeSink.at(lake.catalog, lake.dead_letters.table)
    job = newest_of(jobs_of(sink, datasets))
    state = Cluster(lake.flink).state(job.jobs[-1])
    if state is None or state in ENDED:
        raise _none()
    return job


def jobs_of(sink: LakeSink, datasets: Sequence[DatasetConfig]) -> dict[str, Job]:
    """The jobs that wrote datasets last, by their first table; none where there is no table yet."""
    names = [dataset_schema(config).parent.identifier for config in datasets]
    tables = {name: sink.find(name) for name in names}
    found = {name: Job.of(table.properties) for name, table in tables.items() if table is not None}
    return {name: job for name, job in found.items() if job is not None and job.jobs}


def newest_of(jobs: Mapping[str, Job]) -> Job:
    """The job of the first dataset that has one; the datasets that a job writes all remember it.

    Raises:
        Refused: there is none.
    """
    if not jobs:
        raise _none()
    return next(iter(jobs.values()))


def _none() -> Refused:
    return Refused("no Flink job writes these datasets", next_step="`bitlake submit` starts one")
