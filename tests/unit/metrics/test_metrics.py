"""What the metrics count, and when a dataset is well."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.decode.explain import _REASONS
from pipeline.engine.epoch import Summary
from pipeline.engine.tally import DAY, Tally
from pipeline.engine.timelines import Applied
from pipeline.engine.watching import Committed, StateCounts, Watcher
from pipeline.errors import BadConfiguration
from pipeline.metrics import Metrics, serve
from pipeline.sink.dead_letter_table import STAGES
from pipeline.sink.epoch import Position
from pipeline.temporal.apply import CHANGED, NO_OP, SKIPPED


class Quiet:
    """A dataset that follows a topic, at rest."""

    known: Mapping[int, int] = {0: 4, 1: 0}
    why: str | None = None

    def position(self) -> Position:
        return Position(3, {0: 10}, {0: 2_000_000}, 1_999_999)

    def lags(self) -> Mapping[int, int]:
        return self.known

    def fetched_bytes(self) -> int:
        return 77

    def trouble(self) -> str | None:
        return self.why

    def strayed(self) -> int:
        return 1

    def state(self) -> StateCounts:
        return StateCounts(5, 600, 90, 3, 1, 2, 4096)


def epoch(summary: Summary, tally: Tally | None = None) -> Committed:
    position = Position(4, {0: 10}, {0: 3_000_000}, 2_999_999)
    return Committed(position, summary, {"bonds": summary.versions}, tally, 1.5, 0.5, 0.25)


def values(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Samples by name and the values of their labels, but for the process's own."""
    text = generate_latest(metrics.registry).decode()
    return {
        (sample.name, *(v for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def applied(operations: list[int], outcomes: list[int], valid: list[int], system: list[int]) -> Applied:
    changes = type(
        "Changes",
        (),
        {
            "operation": np.array(operations, np.uint8),
            "outcome": np.array(outcomes, np.uint8),
            "valid_from": np.array(valid),
            "system": np.array(system),
        },
    )
    return Applied(changes, 0)


def test_a_tally_counts_changes_only_and_bins_their_distance():
    tally, day = Tally(dated=False), DAY * 1_000_000
    tally.add(
        applied([0, 0, 4, 1], [CHANGED, NO_OP, CHANGED, SKIPPED], [0, 0, 3 * day, 0], [2 * day] * 4),
        slice(0, 4),
    )
    assert tally.operations.tolist() == [1, 0, 0, 0, 1]
    assert tally.late.tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0], "a day early, and two days late"
    assert tally.late_seconds == DAY


def test_a_tally_of_dates_counts_days():
    tally = Tally(dated=True)
    tally.add(applied([0], [CHANGED], [1], [31 * DAY * 1_000_000]), slice(0, 1))
    assert tally.late_seconds == 30 * DAY
    assert tally.late[6] == 1


def test_epochs_are_counted():
    metrics = Metrics(["bonds"], 10)
    watcher = metrics.watching(lambda _: Watcher())("bonds")
    tally = Tally(dated=False)
    tally.operations[:] = (5, 1, 0, 0, 0)
    tally.late[1], tally.late_seconds = 6, 12.0
    tally.bury(pa.table({"stage": ["json", "key", "json"]}))
    watcher.committed(epoch(Summary(10, 6, 1, 3, 8, 1), tally))
    found = values(metrics)
    assert found["bitlake_records_total", "bonds"] == 10
    assert found["bitlake_changes_total", "bonds", "put"] == 5
    assert found["bitlake_changes_total", "bonds", "delete"] == 0, "known before the first one"
    assert found["bitlake_no_ops_total", "bonds"] == 1
    assert found["bitlake_dead_letters_total", "bonds", "json"] == 2
    assert found["bitlake_versions_total", "bonds", "bonds"] == 8
    assert found["bitlake_epoch_duration_seconds_sum", "bonds"] == 1.5
    assert found["bitlake_late_distance_seconds_bucket", "bonds", "0.0"] == 0
    assert found["bitlake_late_distance_seconds_bucket", "bonds", "60.0"] == 6
    assert found["bitlake_late_distance_seconds_sum", "bonds"] == 12


def test_a_running_dataset_is_asked_until_it_ends():
    metrics = Metrics(["bonds"], 10)
    watcher = metrics.watching(lambda _: Watcher())("bonds")
    assert ("bitlake_lag_offsets", "bonds", "0") not in values(metrics)
    watcher.opened(Quiet())
    found = values(metrics)
    assert (found["bitlake_lag_offsets", "bonds", "0"], found["bitlake_fetched_bytes_total", "bonds"]) == (
        4,
        77,
    )
    assert found["bitlake_state_lookups_total", "bonds", "backend"] == 3
    assert found["bitlake_state_disk_bytes",] == 4096
    assert found["bitlake_strayed_keys_total", "bonds"] == 1
    assert found["bitlake_horizon_age_seconds", "bonds"] > 1e9
    watcher.ended(None)
    assert ("bitlake_lag_offsets", "bonds", "0") not in values(metrics)
    assert values(metrics)["bitlake_dataset_up", "bonds"] == 0


def test_what_is_heard_is_passed_on():
    heard: list[str] = []

    class Listening(Watcher):
        def committed(self, epoch: Committed) -> None:
            heard.append("committed")

        def read(self, records: int, bytes_done: int, bytes_total: int | None) -> None:
            heard.append("read")

    watcher = Metrics(["bonds"], 10).watching(lambda _: Listening())("bonds")
    watcher.read(1, 0, None)
    watcher.committed(epoch(Summary(1)))
    assert heard == ["read", "committed"]


def test_every_stage_begins_at_zero():
    assert {stage for stage, *_ in _REASONS.values()} == set(STAGES)


def ask(port: int, path: str) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_ready_means_open_committing_and_not_waiting(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("pipeline.metrics.watched.time.monotonic", lambda: now[0])
    metrics = Metrics(["bonds"], 10)
    watcher = metrics.watching(lambda _: Watcher())("bonds")
    with serve(metrics, "127.0.0.1", 0) as port:
        assert ask(port, "/readyz")[0] == 503, "not open yet"
        assert ask(port, "/healthz")[0] == 200
        topic = Quiet()
        topic.known = {}
        watcher.opened(topic)
        assert ask(port, "/readyz")[0] == 503, "nothing was fetched yet"
        topic.known = Quiet.known
        status, told = ask(port, "/readyz")
        assert (status, told["ok"], told["datasets"]["bonds"]["lag"]) == (200, True, 4)
        watcher.read(10, 0, None)
        now[0] += metrics.limit + 1
        status, told = ask(port, "/readyz")
        assert (status, told["datasets"]["bonds"]["uncommitted_seconds"]) == (503, metrics.limit + 1)
        watcher.committed(epoch(Summary(10)))
        now[0] += 10 * metrics.limit
        assert ask(port, "/readyz")[0] == 200, "nothing waits to be committed"
        topic.why = "the broker is away"
        status, told = ask(port, "/readyz")
        assert (status, told["datasets"]["bonds"]["reading"]) == (503, "the broker is away")
        assert values(metrics)["bitlake_server_away", "bonds"] == 1
        topic.why = None
        assert ask(port, "/readyz")[0] == 200
        assert values(metrics)["bitlake_server_away", "bonds"] == 0
        watcher.waiting("the catalog is away")
        status, told = ask(port, "/readyz")
        assert (status, told["datasets"]["bonds"]["waiting_for"]) == (503, "the catalog is away")
        watcher.waiting(None)
        assert ask(port, "/readyz")[0] == 200
        watcher.ended(RuntimeError("no more"))
        status, told = ask(port, "/healthz")
        assert (status, told["datasets"]["bonds"]["failure"]) == (503, "no more")


def test_other_paths_are_not_found():
    with (
        serve(Metrics(["bonds"], 10), "127.0.0.1", 0) as port,
        pytest.raises(urllib.error.HTTPError, match="404") as caught,
    ):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/else", timeout=30)
    caught.value.close()


def test_a_taken_port_is_explained():
    metrics = Metrics(["bonds"], 10)
    with (
        serve(metrics, "127.0.0.1", 0) as port,
        pytest.raises(BadConfiguration, match=f"127.0.0.1:{port}"),
        serve(metrics, "127.0.0.1", port),
    ):
        pass
