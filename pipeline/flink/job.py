"""The Flink job of datasets, as a property of their first tables remembers it; and how it is stopped."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.config import DatasetConfig, LakeConfig, dataset_schema
from pipeline.errors import BitlakeError, Refused
from pipeline.flink.cluster import ENDED, Cluster
from pipeline.sink.lake_sink import LakeSink

JOB = "bitlake.flink-job"
"""Property of a dataset's first table: the job that writes it, and what its successors need."""


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
        text = properties.get(JOB)
        if not text:
            return None
        content = json.loads(text)
        return Job(**{**content, "jobs": tuple(content["jobs"]), "datasets": tuple(content["datasets"])})


def stop(
    lake: LakeConfig, datasets: Sequence[DatasetConfig], *, folder: str | None = None, give_up: bool = True
) -> dict[str, Any]:
    """Stop the job that writes some datasets, with a savepoint, and let go of their leases.

    One that has ended already only loses its leases: there is no new savepoint.

    Args:
        lake: the configuration.
        datasets: which of them.
        folder: for the savepoint, if not as Flink is configured.
        give_up: let go of the leases; else its successor takes them.

    Returns:
        The job's id, its newest savepoint, and the seconds that it took to stop.

    Raises:
        Refused: no job writes them; or it has ended already, and the leases were to be kept.
        BitlakeError: the job failed when it was to be stopped.
    """
    sink, cluster = LakeSink.at(lake.catalog, lake.dead_letters.table), Cluster(lake.flink)
    jobs = jobs_of(sink, datasets)
    job, begun = newest_of(jobs), time.monotonic()
    state, place = cluster.state(job.jobs[-1]), job.savepoint
    if state is not None and state not in ENDED:
        place = cluster.stop(job.jobs[-1], folder)
        ended = cluster.wait(job.jobs[-1], patience=600)
        if ended != "FINISHED":
            why = cluster.failure(job.jobs[-1])[:1000]
            raise BitlakeError(f"job {job.jobs[-1]} ended as {ended} after its savepoint: {why}")
    elif not give_up:
        raise Refused(
            f"job {job.jobs[-1]} has ended before it could be stopped",
            next_step="`bitlake submit` goes on from its last checkpoint",
        )
    seconds = round(time.monotonic() - begun, 3)
    for name, one in jobs.items():
        sink.set_properties(name, {JOB: replace(one, savepoint=place).to_json()})
        if give_up:
            sink.give_up_lease(name, one.owner)
    return {"job": job.jobs[-1], "savepoint": place, "seconds": seconds}


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
    """The jobs that wrote datasets last, by their first table."""
    names = [dataset_schema(config).parent.identifier for config in datasets]
    found = {name: Job.of(sink.table(name).properties) for name in names}
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
