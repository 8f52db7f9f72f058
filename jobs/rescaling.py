"""Another parallelism for a job that runs: its successor is made before it is stopped."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobs.submitting import Submitter, submitted
from pipeline.config import DatasetConfig, LakeConfig
from pipeline.errors import BitlakeError, Refused
from pipeline.flink.cluster import Cluster
from pipeline.flink.job import Job, running, stop_for_successor
from stack.turns import locked

log = logging.getLogger(__name__)


class Rescaling:
    """Changes the parallelism of the job that writes some datasets.

    Args:
        config: lake.yaml.
        lake, datasets: what is in it.
        patience: seconds within which a new job has to run.
    """

    def __init__(
        self, config: Path, lake: LakeConfig, datasets: Sequence[DatasetConfig], patience: float
    ) -> None:
        self._config, self._lake, self._datasets = config, lake, datasets
        self._patience = patience
        self._cluster = Cluster(lake.flink)

    def current(self) -> int:
        """The job's parallelism.

        Raises:
            Refused: none runs.
        """
        return running(self._lake, self._datasets).parallelism

    def to(self, parallelism: int) -> dict[str, Any]:
        """Stop the job with a savepoint and go on with another parallelism, or as before if that fails.

        Returns:
            The new job, and how long none ran.

        Raises:
            Refused: the cluster has no room for it, it did not run, or another rescale does: the job goes on
                as before.
        """
        with _alone(self._config):
            return self._to(parallelism)

    def _to(self, parallelism: int) -> dict[str, Any]:
        before = running(self._lake, self._datasets)
        if before.parallelism == parallelism:
            log.warning("it has a parallelism of %d already: nothing was done", parallelism)
            return _told(before.jobs[-1], parallelism)
        self._cluster.require_slots(parallelism, held=before.parallelism)
        with (
            Submitter(self._config, before.datasets, ["--successor"], parallelism) as successor,
            _interruption_told(),
        ):
            successor.prepared()
            begun = time.monotonic()
            stopped = stop_for_successor(self._lake, before.jobs[-1])
            place, started = stopped["savepoint"], list[str]()
            try:
                started.append(successor.start(place))
                self._verify(started[-1], place)
            except BitlakeError as error:
                self._go_back(error, parallelism, before, started)
            outage = round(time.monotonic() - begun, 3)
        size = self._cluster.savepoint_bytes(stopped["job"])
        return _told(started[-1], parallelism, place, size, stopped["seconds"], outage)

    def _verify(self, job: str, savepoint: str) -> None:
        self._cluster.wait_running(job, self._patience)
        found = self._cluster.restored_from(job)
        if found != savepoint:
            raise BitlakeError(f"job {job} goes on from {found}, not from {savepoint}")

    def _go_back(self, error: BitlakeError, wanted: int, before: Job, started: Sequence[str]) -> None:
        log.warning("going on with a parallelism of %d again: %s", before.parallelism, error.message)
        for failed in started:
            self._cluster.cancel(failed)
            self._cluster.wait(failed)
        job = submitted(self._config, before.datasets, [], before.parallelism)
        self._cluster.wait_running(job, self._patience)
        raise Refused(
            f"the job could not run with a parallelism of {wanted}: {error.message}",
            next_step=f"it runs on as before, as job {job}",
        ) from error


@contextmanager
def _alone(config: Path) -> Iterator[None]:
    """One at a time by a lake.yaml: of two at once neither might get its savepoint."""
    with config.open() as file:
        if not locked(file):
            raise Refused(f"another rescale by {config} is at work", next_step="try again when it has ended")
        yield


@contextmanager
def _interruption_told() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        log.warning(
            "interrupted: `bitlake status` tells whether a job runs; if not, `bitlake submit` goes on"
        )
        raise


def _told(
    job: str,
    parallelism: int,
    savepoint: str | None = None,
    state_bytes: int | None = None,
    stopping: float = 0.0,
    outage: float = 0.0,
) -> dict[str, Any]:
    return {
        "job": job,
        "parallelism": parallelism,
        "savepoint": savepoint,
        "state_bytes": state_bytes,
        "savepoint_seconds": stopping,
        "outage_seconds": outage,
    }
