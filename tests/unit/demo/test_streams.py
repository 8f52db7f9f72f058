import json
from datetime import datetime
from importlib.resources import files

import pytest
from ruamel.yaml import YAML

from pipeline.config import parse_config
from pipeline.demo.place import STREAMS

DATA = files("pipeline.demo").joinpath("data")
LAKE = YAML(typ="safe").load(DATA.joinpath("lake.yaml").read_text(encoding="utf-8"))
LEFT_TO_INFERENCE = {"rating", "restatement.reason"}


def dataset(name):
    return next(d for d in LAKE["datasets"] if d["name"] == name)


def records(name):
    return [
        json.loads(line) for line in DATA.joinpath(f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def path_of(name, column):
    return name if isinstance(column, str) else column.get("path", name)


def declared(name):
    entry = dataset(name)
    paths = {path_of(n, c) for n, c in entry["columns"].items()}
    paths |= {entry[option] for option in ("valid_from", "valid_to", "operation") if option in entry}
    for child in entry.get("children", ()):
        paths |= {f"{child['path']}[].{path_of(n, c)}" for n, c in child["columns"].items()}
    return paths


def leaves(value, path=""):
    if isinstance(value, dict):
        return {leaf for k, v in value.items() for leaf in leaves(v, f"{path}.{k}" if path else k)}
    if isinstance(value, list):
        return {leaf for item in value for leaf in leaves(item, f"{path}[]")}
    return {path}


@pytest.mark.parametrize("name", STREAMS)
def test_fields_are_declared_but_for_two_that_show_inference(name):
    found = set().union(*(leaves(r["value"]) for r in records(name) if r["value"] is not None))

    assert found - declared(name) <= LEFT_TO_INFERENCE
    assert declared(name) - found == set()


@pytest.mark.parametrize("name", STREAMS)
def test_records_are_in_order_and_know_their_key(name):
    (key,) = dataset(name)["key"]
    stamps = [datetime.fromisoformat(r["timestamp"]) for r in records(name)]

    assert stamps == sorted(set(stamps))
    assert all(r["value"] is None or r["value"][key] == r["key"] for r in records(name))


def test_every_operation_is_used():
    used = {
        "tombstone" if r["value"] is None else r["value"].get("action", "put")
        for n in STREAMS
        for r in records(n)
    }

    assert used == {"put", "patch", "delete", "terminate", "retract", "tombstone"}


def test_segments_add_up_to_the_report():
    for record in records("reports"):
        income, segments = record["value"].get("income"), record["value"].get("segments")
        if income:
            for figure in ("revenue", "operating_profit"):
                assert sum(float(s[figure]) for s in segments) == pytest.approx(float(income[figure]))


def test_coupon_is_fixing_plus_margin():
    for record in records("bonds"):
        terms = (record["value"] or {}).get("terms", {})
        if terms.get("fixing") and "," not in terms["fixing"]:
            assert float(terms["coupon"]) == pytest.approx(float(terms["fixing"]) + 1.05)


def test_the_lake_is_accepted(tmp_path):
    config = parse_config(DATA.joinpath("lake.yaml").read_text(encoding="utf-8"), base=tmp_path, environ={})

    assert [d.name for d in config.datasets] == ["rates", *STREAMS]
