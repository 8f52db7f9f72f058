"""The dashboard and the alerts ask for what there is."""

import re

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


def test_expressions_are_balanced():
    for expression in expressions():
        for opening, closing in ("()", "{}", "[]"):
            assert expression.count(opening) == expression.count(closing), expression


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
