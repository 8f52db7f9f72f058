"""The dashboard and the alerts ask for what there is."""

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from pipeline.engine.epoch import Summary
from pipeline.engine.tally import Tally
from pipeline.engine.watching import Watcher
from pipeline.metrics import Metrics
from tests.promql import alerts, dashboard, expressions, names
from tests.unit.metrics.test_metrics import Quiet, epoch, values


def test_every_metric_named_is_there():
    metrics = Metrics(["bonds"], 10)
    watcher = metrics.watching(lambda _: Watcher())("bonds")
    watcher.opened(Quiet())
    watcher.committed(epoch(Summary(10, 10, versions=12), Tally(dated=False)))
    assert names() - {sample[0] for sample in values(metrics)} == set()
    assert len(names()) > 20


def test_every_metric_of_ours_is_shown():
    metrics = Metrics(["bonds"], 10)
    watcher = metrics.watching(lambda _: Watcher())("bonds")
    watcher.opened(Quiet())
    watcher.committed(epoch(Summary(10, 10, versions=12), Tally(dated=False)))
    ours = {sample[0] for sample in values(metrics) if sample[0].startswith("bitlake_")}
    ours = {name for name in ours if not name.endswith(("_sum", "_count"))}
    assert ours - names() == {"bitlake_last_commit_timestamp_seconds"}


def queries() -> Iterator[str]:
    """The expressions with values for Grafana's variables."""
    for expression in expressions():
        asked = re.fullmatch(r"label_values\((.*), \w+\)", expression)  # Grafana's own, around PromQL
        interval = re.sub(r"\$__\w+", "5m", asked[1] if asked else expression)
        yield re.sub(r"\$\w+", "some", interval)


@pytest.mark.parametrize("query", [*queries()])
def test_prometheus_can_read_every_expression(query: str):
    promql_parser.parse(query)


def test_an_expression_that_prometheus_cannot_read_is_noticed():
    with pytest.raises(ValueError, match="paren"):
        promql_parser.parse("sum by (dataset) (rate(bitlake_records_total[5m])")


OF_PROMETHEUS = {"definition", "titleFormat", "useValueForTime"}
"""What its plugin adds to variables and annotations: Grafana's own schema says nothing of it."""


def unknown(written: Any, read: Any) -> Iterator[str]:
    """The names of the fields that were not read, or not as they were written."""
    if isinstance(written, dict):
        for name, value in written.items():
            if name in read:
                yield from unknown(value, read[name])
            else:
                yield name
    elif isinstance(written, list):
        for one, other in zip(written, read, strict=True):
            yield from unknown(one, other)
    else:
        assert written == read


def test_grafana_knows_every_field_of_the_dashboard():
    plugins.register_default_plugins()
    board = dashboard()
    assert set(unknown(board, _as_grafana_reads(board))) <= OF_PROMETHEUS
    board["panels"][0]["titel"] = board["panels"][0].pop("title")
    assert "titel" in set(unknown(board, _as_grafana_reads(board)))


def _as_grafana_reads(board: dict[str, Any]) -> Any:
    return json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(board)))


def test_the_dashboard_can_be_imported():
    board = dashboard()
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= board.keys()
    known = {variable["name"] for variable in board["templating"]["list"]}
    for panel in panels:
        assert {"type", "title", "gridPos"} <= panel.keys()
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for target in panel.get("targets", ()):
            used = set(re.findall(r"\$(?!__)(\w+)", target["expr"]))
            assert used <= known
            assert target["datasource"]["uid"] == "${datasource}"


def test_alerts_have_all_that_prometheus_wants():
    for rule in alerts():
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"[A-Z]\w+", rule["alert"])
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert {"summary", "description"} == rule["annotations"].keys()
