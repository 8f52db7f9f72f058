"""What is asked of a cluster, and how its answers are told."""

from typing import Any

import pytest
import requests

from pipeline.errors import BitlakeError
from pipeline.flink import cluster
from pipeline.flink.cluster import Cluster

TRACE = """java.util.concurrent.CompletionException: it went wrong
	at java.base/java.util.concurrent.CompletableFuture.encodeRelay(Unknown Source)
Caused by: org.apache.flink.runtime.checkpoint.CheckpointException: expired
	at org.apache.flink.runtime.checkpoint.CheckpointCoordinator.abort(CheckpointCoordinator.java:1)
"""


def answering(monkeypatch: pytest.MonkeyPatch, *answers: dict[str, Any]) -> list[tuple[str, str]]:
    """Flink's answers, in order; what was asked for each."""
    asked, told = list[tuple[str, str]](), iter(answers)

    def request(method: str, url: str, **_: object) -> requests.Response:
        asked.append((method, url.partition(":1")[2]))
        answer = requests.Response()
        answer.status_code, answer.json = 200, lambda **_: next(told)  # type: ignore[method-assign]
        answer._content = b"{}"
        return answer

    monkeypatch.setattr(cluster.requests, "request", request)
    monkeypatch.setattr(cluster, "_POLL_SECONDS", 0)
    return asked


def tasks(state: str, **counts: int) -> dict[str, Any]:
    return {"state": state, "status-counts": {"RUNNING": 0, "FINISHED": 0, "DEPLOYING": 0} | counts}


@pytest.fixture
def flink() -> Cluster:
    return Cluster({"rest.address": "127.0.0.1", "rest.port": 1})


def test_a_job_that_is_started_again_is_waited_for_before_it_is_stopped(
    monkeypatch: pytest.MonkeyPatch, flink: Cluster
) -> None:
    asked = answering(
        monkeypatch,
        tasks("RESTARTING", DEPLOYING=2),
        tasks("RUNNING", RUNNING=1, DEPLOYING=1),
        tasks("RUNNING", RUNNING=2),
        {"request-id": "7"},
        {"status": {"id": "COMPLETED"}, "operation": {"location": "s3://here"}},
    )
    assert flink.stop("job", None) == "s3://here"
    assert [method for method, _ in asked] == ["GET", "GET", "GET", "POST", "GET"]
    assert asked[3][1].endswith("/jobs/job/stop")


def test_of_a_savepoint_that_fails_the_innermost_cause_is_told(
    monkeypatch: pytest.MonkeyPatch, flink: Cluster
) -> None:
    failed = {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": {"stack-trace": TRACE}}}
    answering(monkeypatch, tasks("RUNNING", RUNNING=2), {"request-id": "7"}, failed)
    with pytest.raises(BitlakeError, match=r"failed: org\.apache\S+CheckpointException: expired\n"):
        flink.stop("job", None)
