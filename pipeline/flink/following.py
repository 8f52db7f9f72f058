"""Staying with a job until it ends; where it meets new fields, it is submitted again, which adds them."""

from collections.abc import Callable

from tenacity import Retrying, retry_if_exception_type, retry_if_result, wait_fixed

from pipeline.errors import BitlakeError, Unavailable
from pipeline.flink.cluster import ENDED, Cluster
from pipeline.flink.errors import cause, new_fields

_POLL_SECONDS = 1.0


class Following:
    """Follows a job.

    Args:
        cluster: where it runs.
        submit: submits it again, which evolves the tables and goes on from its last checkpoint; gives the
            new job's id.
    """

    def __init__(self, cluster: Cluster, submit: Callable[[], str]) -> None:
        self._cluster, self._submit = cluster, submit

    def wait(self, job: str) -> str:
        """Wait until the job, or the last that took its place, has finished or was cancelled; its id.

        Raises:
            BitlakeError: it failed.
        """
        while True:
            well = Retrying(
                retry=retry_if_result(lambda found: found is None) | retry_if_exception_type(Unavailable),
                wait=wait_fixed(_POLL_SECONDS),
            )(self._look, job)
            if well:
                return job
            job = self._submit()

    def _look(self, job: str) -> bool | None:
        """Whether the job has ended well; if not, new fields ended it. None while it goes on."""
        state = self._cluster.state(job)
        if state is None:
            raise BitlakeError(
                f"the cluster does not know job {job} any more",
                next_step="`bitlake submit` goes on from its last checkpoint",
            )
        if state in ("FINISHED", "CANCELED"):
            return True
        if state not in ENDED:
            return None
        why = self._cluster.failure(job)
        if not new_fields(why):
            raise BitlakeError(f"job {job} failed: {cause(why)}", next_step="see the TaskManagers' logs")
        return False
