"""What the shipped dashboard and alerts ask Prometheus for."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

DEPLOY = Path(__file__).parents[1] / "deploy"
_NAME = re.compile(r"\b(?:bitlake|process)_[a-z_]+")


def dashboard() -> dict[str, Any]:
    return dict(json.loads((DEPLOY / "grafana" / "bitlake.json").read_text()))


def alerts() -> list[dict[str, Any]]:
    (group,) = YAML(typ="safe").load(DEPLOY / "prometheus" / "alerts.yaml")["groups"]
    return list(group["rules"])


def expressions() -> Iterator[str]:
    """All PromQL of both."""
    board = dashboard()
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (annotation["expr"] for annotation in board["annotations"]["list"])
    yield from (
        variable["definition"] for variable in board["templating"]["list"] if "definition" in variable
    )
    yield from (rule["expr"] for rule in alerts())


def names() -> set[str]:
    """The metrics that they name."""
    return {name for expression in expressions() for name in _NAME.findall(expression)}


def flink_names() -> set[str]:
    """The metrics of Flink that they name."""
    return {name for expression in expressions() for name in re.findall(r"\bflink_\w+", expression)}
