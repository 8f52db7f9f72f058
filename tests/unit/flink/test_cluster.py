"""What is asked of a cluster, and how its answers are told."""

from dataclasses import replace
from typing import Any

import pytest
import requests

from pipeline.errors import BitlakeError
from pipeline.flink import cluster
from pipeline.flink.cluster import Cluster
from pipeline.flink.errors import NewField, new_fields
from pipeline.schema import Column, ColumnType, DatasetSchema, TableSchema

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


def tasks(state: str, running: int, total: int) -> dict[str, Any]:
    others = {"jid": "another", "state": "RUNNING", "tasks": {"running": 9, "finished": 0, "total": 9}}
    return {
        "jobs": [
            others,
            {"jid": "job", "state": state, "tasks": {"running": running, "finished": 0, "total": total}},
        ]
    }


@pytest.fixture
def flink() -> Cluster:
    return Cluster({"rest.address": "127.0.0.1", "rest.port": 1})


def test_a_job_that_is_started_again_is_waited_for_before_it_is_stopped(
    monkeypatch: pytest.MonkeyPatch, flink: Cluster
) -> None:
    asked = answering(
        monkeypatch,
        tasks("RESTARTING", 0, 2),
        tasks("RUNNING", 1, 2),
        tasks("RUNNING", 2, 2),
        {"request-id": "7"},
        {"status": {"id": "COMPLETED"}, "operation": {"location": "s3://here"}},
    )
    assert flink.stop("job") == "s3://here"
    assert [method for method, _ in asked] == ["GET", "GET", "GET", "POST", "GET"]
    assert asked[3][1].endswith("/jobs/job/stop")


def test_of_a_savepoint_that_fails_the_innermost_cause_is_told(
    monkeypatch: pytest.MonkeyPatch, flink: Cluster
) -> None:
    failed = {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": {"stack-trace": TRACE}}}
    answering(monkeypatch, tasks("RUNNING", 2, 2), {"request-id": "7"}, failed)
    with pytest.raises(BitlakeError, match=r"failed: org\.apache\S+CheckpointException: expired\n"):
        flink.stop("job")


def test_why_a_job_has_just_failed_is_asked_until_it_is_told(
    monkeypatch: pytest.MonkeyPatch, flink: Cluster
) -> None:
    """Flink's pages of a job are seconds older than the news that it failed."""
    told = {"exceptionHistory": {"entries": [{"stacktrace": "java.lang.IllegalStateException: new fields"}]}}
    asked = answering(monkeypatch, tasks("FAILED", 0, 2), {"exceptionHistory": {"entries": []}}, told)
    with pytest.raises(BitlakeError, match="job job is failed: java.lang.IllegalStateException: new fields"):
        flink.wait_running("job")
    assert len(asked) == 3


def test_new_fields_are_told_without_what_is_for_the_next_submit(
    monkeypatch: pytest.MonkeyPatch, flink: Cluster
) -> None:
    text = ColumnType.parse("string")
    table = TableSchema("bonds", "ref.bonds", (), (), (Column("k", ("k",), text),), ())
    grown = replace(table, values=(Column("rating", ("rating",), text),))
    before, after = (DatasetSchema("bonds", (one,)) for one in (table, grown))
    trace = f"bitlake.Stop: {NewField.between(before, after)}\n\tat bitlake.Frames.stop(Frames.java:1)"
    assert [one.name for one in new_fields(trace)] == ["rating"]
    answering(monkeypatch, {"exceptionHistory": {"entries": [{"stacktrace": trace}]}})
    assert flink.reason("job") == "bitlake.Stop: 'bonds': new fields in the stream: bonds.rating (string)"


def test_a_job_that_the_cluster_does_not_know_has_no_state(
    monkeypatch: pytest.MonkeyPatch, flink: Cluster
) -> None:
    answering(monkeypatch, tasks("RUNNING", 2, 2))
    assert flink.state("one of before") is None
