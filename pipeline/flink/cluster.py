"""A Flink cluster by its REST API, as Flink's documentation has it under "Operations".

How a job stands is asked of ``/jobs/overview``: what ``/jobs/ID`` and the pages below it tell is up to three
seconds old (``web.refresh-interval``).
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlparse

import requests
from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay, stop_never, wait_fixed

from pipeline.errors import BitlakeError, Refused, Unavailable
from pipeline.flink.errors import cause

ENDED = ("FINISHED", "CANCELED", "FAILED")
_JOBS = "/jobs/overview"
_POLL_SECONDS = 0.1
_REFRESH_SECONDS = 5.0
Told = TypeVar("Told")


class Cluster:
    """The JobManager at an address.

    Args:
        options: the ``flink`` section of lake.yaml: ``rest.address`` and ``rest.port``.
        timeout: seconds for an answer.
    """

    def __init__(self, options: Mapping[str, Any], timeout: float = 30.0) -> None:
        self._timeout = timeout
        self.url = f"http://{options.get('rest.address', 'localhost')}:{options.get('rest.port', 8081)}"

    @classmethod
    def at(cls, url: str, timeout: float = 30.0) -> "Cluster":
        """The JobManager at a URL as `url` has it."""
        address = urlparse(url)
        return cls({"rest.address": address.hostname, "rest.port": address.port}, timeout)

    def running(self) -> list[str]:
        """The jobs that have not ended."""
        return [job["id"] for job in self._ask("GET", "/jobs")["jobs"] if job["status"] not in ENDED]

    def state(self, job: str) -> str | None:
        """A job's state; None if the cluster does not know it."""
        try:
            return str(self._job(job)["state"])
        except UnknownJob:
            return None

    def _job(self, job: str) -> dict[str, Any]:
        jobs = self._ask("GET", _JOBS)["jobs"]
        try:
            return next(dict(one) for one in jobs if one["jid"] == job)
        except StopIteration:
            raise UnknownJob(f"{self.url} knows no job {job}", next_step="see the jobs there") from None

    def failure(self, job: str) -> str:
        """Why a job failed last; of one that has just failed, Flink may tell so a little later."""
        newest = _polled(
            lambda: _newest(self._ask("GET", f"/jobs/{job}/exceptions")),
            lambda told: told is not None,
            _REFRESH_SECONDS,
        )
        return newest or "not known"

    def reason(self, job: str) -> str:
        """Why a job failed last, in a line."""
        return cause(self.failure(job))

    def wait_failed(self, job: str, patience: float = 120.0) -> str:
        """Wait until a job has failed for good; why."""
        state = self.wait(job, patience=patience)
        if state != "FAILED":
            raise BitlakeError(f"job {job} is {state.lower()}, not failed")
        return self.failure(job)

    def cancel(self, job: str) -> None:
        """Stop a job where it is; its last checkpoint stays."""
        self._ask("PATCH", f"/jobs/{job}")

    def stop(self, job: str, *, running: float = 120.0, patience: float = 600.0) -> str:
        """Stop a job with a savepoint, in RocksDB's own format: sooner written and read; where that is.

        One that Flink is starting again is waited for: there is no savepoint before all its tasks run.

        Args:
            job: its id.
            running: seconds for all its tasks to run.
            patience: seconds for the savepoint.

        Raises:
            NotRunning: not all its tasks run.
            BitlakeError: the savepoint failed; the job goes on.
        """
        self.wait_running(job, running)
        trigger = self._ask("POST", f"/jobs/{job}/stop", {"formatType": "NATIVE"})["request-id"]
        return self._savepoint(job, trigger, patience)

    def _savepoint(self, job: str, trigger: str, patience: float) -> str:
        told = _polled(
            lambda: self._ask("GET", f"/jobs/{job}/savepoints/{trigger}"),
            lambda told: told["status"]["id"] == "COMPLETED",
            patience,
        ).get("operation", {})
        if "location" not in told:
            trace = told.get("failure-cause", {}).get("stack-trace", f"it took more than {patience:.0f} s")
            raise BitlakeError(
                f"the savepoint of job {job} failed: {cause(trace)}",
                next_step="see the JobManager's log; the job goes on unless it failed as well",
            )
        return str(told["location"])

    def savepoint_bytes(self, job: str) -> int | None:
        """The size of a job's last savepoint; None if it has none."""
        newest = self._ask("GET", f"/jobs/{job}/checkpoints").get("latest", {}).get("savepoint")
        return int(newest["state_size"]) if newest else None

    def restored_from(self, job: str) -> str | None:
        """The savepoint or checkpoint that a job went on from; None: from none."""
        found = self._ask("GET", f"/jobs/{job}/checkpoints").get("latest", {}).get("restored")
        return str(found["external_path"]) if found else None

    def slots(self) -> int | None:
        """How many slots are free; None where TaskManagers are started, or jobs cut, as it needs."""
        settings = {one["key"]: one["value"] for one in self._ask("GET", "/jobmanager/config")}
        scheduler = {str(settings.get(key)).lower() for key in ("jobmanager.scheduler", "scheduler-mode")}
        if "kubernetes.cluster-id" in settings or scheduler & {"adaptive", "reactive"}:
            return None
        return int(self._ask("GET", "/overview")["slots-available"])

    def wait(self, job: str, states: tuple[str, ...] = ENDED, patience: float | None = None) -> str:
        """Wait until a job is in one of some states, or has ended; which.

        Raises:
            BitlakeError: it is in none of them after `patience` seconds.
        """

        def state() -> str | None:
            try:
                return str(self._job(job)["state"])
            except Unavailable:
                return None

        wanted = {*states, *ENDED}
        found = _polled(state, lambda state: state in wanted, patience)
        if found not in wanted:
            raise BitlakeError(f"job {job} is still not {' or '.join(states).lower()} after {patience} s")
        return str(found)

    def wait_running(self, job: str, patience: float = 120.0) -> None:
        """Wait until every task of a job runs.

        Raises:
            NotRunning: it ended, or did not get there in time, however often Flink started it again.
        """

        def ready() -> bool:
            told = self._job(job)
            if told["state"] in ENDED:
                why = f": {self.reason(job)}" if told["state"] == "FAILED" else ""
                raise NotRunning(f"job {job} is {told['state'].lower()}{why}")
            tasks = told["tasks"]
            return bool(tasks["running"] + tasks["finished"] == tasks["total"])

        if not _polled(ready, bool, patience):
            raise NotRunning(
                f"job {job} did not run within {patience:.0f} s",
                next_step=f"see that the cluster has slots for it: {self.url}",
            )

    def require_slots(self, wanted: int, held: int = 0, patience: float = 0.0) -> None:
        """See that the cluster has room for a job.

        Args:
            wanted: its slots.
            held: those that are not free, but will be.
            patience: seconds in which TaskManagers may still come.

        Raises:
            Refused: it has not.
        """
        free = _polled(self.slots, lambda free: free is None or free + held >= wanted, patience)
        if free is not None and free + held < wanted:
            raise Refused(
                f"the cluster has {free + held} slots for the job, not {wanted}",
                next_step="start more TaskManagers first, or give a smaller --parallelism",
            )

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        try:
            answer = requests.request(method, self.url + path, json=body, timeout=self._timeout)
        except requests.RequestException as error:
            raise Unavailable(
                f"Flink does not answer at {self.url} ({type(error).__name__})",
                next_step="check rest.address and rest.port under flink in lake.yaml, and the cluster",
            ) from error
        if answer.status_code == 404 and path.startswith("/jobs/") and path != _JOBS:
            raise UnknownJob(f"{self.url}{path}: not known", next_step="see the jobs at " + self.url)
        try:
            told = answer.json() if answer.content else {}
        except requests.JSONDecodeError:
            told = None
        if told is None or answer.status_code in (401, 403, 404, 405):
            raise Unavailable(
                f"what answers at {self.url} is not Flink's REST API, or wants to know who asks",
                next_step="check rest.address and rest.port under flink in lake.yaml",
            )
        if not answer.ok:
            raise BitlakeError(f"Flink refused {method} {path}: {_first(answer.text)}")
        return told


class UnknownJob(BitlakeError):
    """The cluster has no such job."""


class NotRunning(BitlakeError):
    """A job does not run, or not all of its tasks do."""


def _polled(ask: Callable[[], Told], done: Callable[[Told], bool], patience: float | None) -> Told:
    """What is told as soon as it is `done`, or last before `patience` seconds are over (None: never)."""

    def last(state: RetryCallState) -> Told:
        assert state.outcome is not None
        found: Told = state.outcome.result()
        return found

    retrying = Retrying(
        retry=retry_if_result(lambda told: not done(told)),
        stop=stop_never if patience is None else stop_after_delay(patience),
        wait=wait_fixed(_POLL_SECONDS),
        retry_error_callback=last,
    )
    return retrying(ask)


def _newest(told: Mapping[str, Any]) -> str | None:
    entries = told.get("exceptionHistory", {}).get("entries", [])
    return told.get("root-exception") or (str(entries[0]["stacktrace"]) if entries else None)


def _first(text: str) -> str:
    return text.strip()[:2000]
