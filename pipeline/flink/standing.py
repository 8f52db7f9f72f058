"""How the Flink jobs stand that hold datasets."""

import logging
from collections.abc import Mapping

from pipeline.errors import BitlakeError
from pipeline.flink.cluster import Cluster
from pipeline.flink.job import Job
from pipeline.query.status import JobStatus
from pipeline.sink.lease import Lease

log = logging.getLogger(__name__)

_TIMEOUT = 5.0


def standing(tables: Mapping[str, Mapping[str, str]]) -> dict[str, JobStatus]:
    """The jobs that hold datasets; each is asked for once.

    Args:
        tables: the properties of each dataset's first table.
    """
    found, asked = dict[str, JobStatus](), dict[str, JobStatus]()
    for dataset, properties in tables.items():
        job, lease = Job.of(properties), Lease.of(properties)
        if job is not None and job.jobs and lease is not None and lease.until and lease.owner == job.owner:
            newest = job.jobs[-1]
            found[dataset] = asked.get(newest) or asked.setdefault(newest, _asked(job))
    return found


def _asked(job: Job) -> JobStatus:
    newest, state, failure = job.jobs[-1], None, None
    try:
        cluster = Cluster.at(job.cluster, _TIMEOUT)
        state = cluster.state(newest)
        if state == "FAILED":
            failure = cluster.reason(newest)
            log.warning(
                "job %s failed, and `bitlake submit` goes on from its last checkpoint: %s", newest, failure
            )
        elif state is None:
            log.warning("job %s is not known at %s any more: `bitlake submit` goes on", newest, job.cluster)
    except BitlakeError as error:
        log.warning("how job %s stands is not known: %s", newest, error.message)
    return JobStatus(newest, state, job.parallelism, failure)
