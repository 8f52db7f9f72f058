"""How `bitlake status` tells of Flink jobs."""

import logging
from typing import Any

import pytest

from pipeline.errors import Unavailable
from pipeline.flink.cluster import Cluster
from pipeline.flink.job import Job
from pipeline.flink.standing import standing
from pipeline.query.status import JobStatus
from pipeline.sink.conventions import FLINK_JOB
from pipeline.sink.lease import Tenant

JOB = Job("run", ("first", "newest"), 7, {}, {}, cluster="http://127.0.0.1:1", parallelism=2, token="t")


def properties(job: Job, seconds: float = 1000.0, owner: str | None = None) -> dict[str, str]:
    tenant = Tenant(owner or job.owner, "a Flink job", seconds)
    lease = tenant.renewed(1)
    return {FLINK_JOB: job.to_json(), **(lease if seconds else lease.ended()).as_properties()}


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the cluster tells of jobs; what it was asked, by job."""
    told: dict[str, Any] = {"newest": "RUNNING", "asked": []}

    def state(_: Cluster, job: str) -> str | None:
        told["asked"].append(job)
        if isinstance(told[job], Exception):
            raise told[job]
        return told[job]

    monkeypatch.setattr(Cluster, "state", state)
    monkeypatch.setattr(Cluster, "reason", lambda *_: "bitlake.Stop: new fields")
    return told


def test_datasets_of_one_job_ask_for_it_once(states: dict[str, Any]) -> None:
    found = standing({"a": properties(JOB), "b": properties(JOB)})
    assert found == dict.fromkeys("ab", JobStatus("newest", "RUNNING", 2))
    assert states["asked"] == ["newest"]


def test_a_job_that_let_go_of_a_dataset_or_lost_it_is_none(states: dict[str, Any]) -> None:
    assert standing({"a": properties(JOB, 0), "b": properties(JOB, owner="another"), "c": {}}) == {}
    assert states["asked"] == []


def test_why_a_job_failed(states: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    states["newest"] = "FAILED"
    found = standing({"a": properties(JOB)})
    assert found["a"] == JobStatus("newest", "FAILED", 2, "bitlake.Stop: new fields")
    assert "bitlake.Stop: new fields" in caplog.text


@pytest.mark.parametrize("told", [None, Unavailable("Flink does not answer")])
def test_a_cluster_that_does_not_tell(
    states: dict[str, Any], told: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    states["newest"] = told
    with caplog.at_level(logging.WARNING):
        assert standing({"a": properties(JOB)})["a"] == JobStatus("newest", None, 2)
    assert "not known" in caplog.text
