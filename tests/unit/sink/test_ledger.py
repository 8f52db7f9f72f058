"""Whose a dataset is and how far it is, as snapshots tell: the cases that the Flink job's Java passes, too."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.query.stored import Ref, Snapshot, Summary
from pipeline.sink.epoch import DATASET, EPOCH, FLINK, WRITE, FlinkRun
from pipeline.sink.ledger import CLAIM, TOKEN, flink_checkpoints, highest_token, newest_summary, writer_token

CASES = json.loads((Path(__file__).parents[2] / "cases/ledger.json").read_text())
RUN = FlinkRun("r", 2, {EPOCH: "10"})


@dataclass(frozen=True)
class Metadata:
    snapshots: list[Snapshot]
    current_snapshot_id: int | None
    refs: dict[str, Ref]


def summary_of(given: dict[str, Any]) -> dict[str, str]:
    """What a snapshot of a case says; the fixture of `LedgerTest.java` does the same."""
    if not given:
        return {"operation": "append"}
    found = {DATASET: given.get("dataset", "bonds")}
    if "token" in given:
        found[TOKEN] = str(given["token"])
    if "claim" in given:
        found[CLAIM] = given["claim"]
    if "epoch" in given:
        found |= {EPOCH: str(given["epoch"]), WRITE: "w"}
    if "run" in given:
        found[FLINK] = FlinkRun(given["run"], RUN.sinks, RUN.start).to_json()
        found["flink.operator-id"] = given["operator"]
        found["flink.max-committed-checkpoint-id"] = str(given["checkpoint"])
    return found


def metadata_of(case: dict[str, Any]) -> Metadata:
    return Metadata(
        [
            Snapshot(number, parent, number, "", Summary(summary_of(given)))
            for number, parent, given in case["snapshots"]
        ],
        case["current"],
        {name: Ref(number) for name, number in case["tags"].items()},
    )


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_a_case(case: dict[str, Any]) -> None:
    metadata = metadata_of(case)
    assert writer_token(metadata, "bonds") == case["token"]
    found = newest_summary(metadata, "bonds")
    assert (None if found is None else int(found[EPOCH])) == case["position"]
    if case["checkpoints"] is not None:
        assert sorted(flink_checkpoints(metadata, "bonds", RUN)) == sorted(case["checkpoints"].values())


def test_a_token_that_was_rolled_back_is_not_given_again() -> None:
    (case,) = [case for case in CASES if case["case"].startswith("rolled back: what is newer")]
    metadata = metadata_of(case)
    assert (writer_token(metadata, "bonds"), highest_token(metadata, "bonds")) == (1, 2)
