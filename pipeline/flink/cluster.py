"""A Flink cluster by its REST API, as Flink's documentation has it under "Operations".

How a job stands is asked of ``/jobs/overview``: what ``/jobs/ID`` and the pages below it tell is up to three
seconds old (``web.refresh-interval``).
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlparse

import requests
from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception_type,
    retry_if_result,
    stop_after_delay,
    stop_never,
    wait_fixed,
)

from pipeline.errors import BitlakeError, Unavailable

ENDED = ("FINISHED", "CANCELED", "FAILED")
_POLL_SECONDS = 0.1
_REFRESH_SECONDS = 5.0


class Cluster:
    """The JobManager at an address.

    Args:
        options: the ``flink`` section of lake.yaml: ``rest.address`` and ``rest.port``.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.url = f"http://{options.get('rest.address', 'localhost')}:{options.get('rest.port', 8081)}"

    @classmethod
    def at(cls, url: str) -> "Cluster":
        """The JobManager at a URL as `url` has it."""
        address = urlparse(url)
        return cls({"rest.address": address.hostname, "rest.port": address.port})

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
        jobs = self._ask("GET", "/jobs/overview")["jobs"]
        try:
            return next(dict(one) for one in jobs if one["jid"] == job)
        except StopIteration:
            raise UnknownJob(f"{self.url} knows no job {job}", next_step="see the jobs there") from None

    def failure(self, job: str) -> str:
        """Why a job failed last; of one that has just failed, Flink may tell so a little later."""
        retrying = Retrying(
            retry=retry_if_result(lambda told: told is None),
            stop=stop_after_delay(_REFRESH_SECONDS),
            wait=wait_fixed(_POLL_SECONDS),
            retry_error_callback=lambda _: "not known",
        )
        return str(retrying(lambda: _newest(self._ask("GET", f"/jobs/{job}/exceptions"))))

    def wait_failed(self, job: str, patience: float = 120.0) -> str:
        """Wait until a job has failed for good; why."""
        state = self.wait(job, patience=patience)
        if state != "FAILED":
            raise BitlakeError(f"job {job} is {state.lower()}, not failed")
        return self.failure(job)

    def cancel(self, job: str) -> None:
        """Stop a job where it is; its last checkpoint stays."""
        self._ask("PATCH", f"/jobs/{job}")

    def stop(self, job: str, folder: str | None, *, drain: bool = False, patience: float = 600.0) -> str:
        """Stop a job with a savepoint, in RocksDB's own format: sooner written and read; where that is.

        One that Flink is starting again is waited for: there is no savepoint before all its tasks run.

        Raises:
            BitlakeError: the job does not run, or the savepoint failed; the job goes on.
        """
        self.wait_running(job)
        body = {"drain": drain, "formatType": "NATIVE", **({"targetDirectory": folder} if folder else {})}
        trigger = self._ask("POST", f"/jobs/{job}/stop", body)["request-id"]
        return self._savepoint(job, trigger, patience)

    def _savepoint(self, job: str, trigger: str, patience: float) -> str:
        retrying = Retrying(
            retry=retry_if_result(lambda told: told["status"]["id"] != "COMPLETED"),
            stop=stop_after_delay(patience),
            wait=wait_fixed(_POLL_SECONDS),
        )
        told = retrying(self._ask, "GET", f"/jobs/{job}/savepoints/{trigger}")["operation"]
        if "failure-cause" in told:
            raise BitlakeError(
                f"the savepoint of job {job} failed: {_cause(told['failure-cause'].get('stack-trace', ''))}",
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
        """How many slots are free; None where the cluster starts TaskManagers as it needs them."""
        settings = self._ask("GET", "/jobmanager/config")
        if any(one["key"] == "kubernetes.cluster-id" for one in settings):
            return None
        return int(self._ask("GET", "/overview")["slots-available"])

    def wait(self, job: str, states: tuple[str, ...] = ENDED, patience: float | None = None) -> str:
        """Wait until a job is in one of some states, or has ended; which.

        Raises:
            BitlakeError: it is in none of them after `patience` seconds.
        """

        def given_up(_: RetryCallState) -> str:
            raise BitlakeError(f"job {job} is still not {' or '.join(states).lower()} after {patience} s")

        stop = stop_after_delay(patience) if patience else stop_never
        retrying = Retrying(
            retry=retry_if_result(lambda state: state not in (*states, *ENDED))
            | retry_if_exception_type(Unavailable),
            stop=stop,
            wait=wait_fixed(_POLL_SECONDS),
            retry_error_callback=given_up,
        )
        return str(retrying(lambda: self._job(job)["state"]))

    def wait_running(self, job: str, patience: float = 120.0) -> None:
        """Wait until every task of a job runs.

        Raises:
            BitlakeError: it ended, or did not get there in time, however often Flink started it again.
        """

        def ready() -> bool:
            told = self._job(job)
            if told["state"] in ENDED:
                raise BitlakeError(f"job {job} is {told['state'].lower()}: {self.failure(job)[:500]}")
            tasks = told["tasks"]
            return bool(tasks["running"] + tasks["finished"] == tasks["total"])

        try:
            Retrying(
                retry=retry_if_result(lambda done: not done),
                stop=stop_after_delay(patience),
                wait=wait_fixed(_POLL_SECONDS),
            )(ready)
        except RetryError as error:
            raise BitlakeError(
                f"job {job} did not run within {patience:.0f} s",
                next_step=f"see that the cluster has slots for it: {self.url}",
            ) from error

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        try:
            answer = requests.request(method, self.url + path, json=body, timeout=30)
        except requests.RequestException as error:
            raise Unavailable(
                f"Flink does not answer at {self.url}: {error}",
                next_step="check rest.address and rest.port under flink in lake.yaml, and the cluster",
            ) from error
        if answer.status_code == 404:
            raise UnknownJob(f"{self.url}{path}: not known", next_step="see the jobs at " + self.url)
        if not answer.ok:
            raise BitlakeError(f"Flink refused {method} {path}: {_first(answer.text)}")
        return answer.json() if answer.content else {}


class UnknownJob(BitlakeError):
    """The cluster has no such job."""


def _newest(told: Mapping[str, Any]) -> str | None:
    entries = told.get("exceptionHistory", {}).get("entries", [])
    return told.get("root-exception") or (str(entries[0]["stacktrace"]) if entries else None)


def _cause(trace: str) -> str:
    """The innermost cause that a Java stack trace tells, without the places."""
    lines = trace.strip().splitlines()
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return [*lines[:1], *causes][-1][:500] if lines else "not known"


def _first(text: str) -> str:
    return text.strip()[:2000]
