"""The workload is what its options say."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.figures import report, stages
from benchmarks.runner import Run, _measure, machine, median, versions
from benchmarks.workload import Workload, lake
from pipeline.config import parse_config
from pipeline.errors import BitlakeError


def records(path: Path, workload: Workload) -> list[dict[str, Any]]:
    size = workload.write(path)
    assert size == path.stat().st_size
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_records_have_the_promised_form(tmp_path: Path) -> None:
    made = records(tmp_path / "a", Workload(records=20_000, keys=400))
    assert len(made) == 20_000
    assert len({r["isin"] for r in made}) == 400
    assert {frozenset(r) for r in made} == {frozenset(("isin", "from", "issuer", "terms", "calls"))}
    assert {frozenset(r["terms"]) for r in made} == {frozenset(("coupon", "basis", "spread"))}
    assert {len(r["calls"]) for r in made} == {0, 1, 2}
    assert all(len({c["date"] for c in r["calls"]}) == len(r["calls"]) for r in made)
    assert 170 < (tmp_path / "a").stat().st_size / 20_000 < 230
    assert all("calls" not in r for r in records(tmp_path / "b", Workload(records=100, children=False)))


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    small = Workload(records=60_000, keys=100)
    files = [tmp_path / name for name in "abc"]
    for file, seed in zip(files, (1, 1, 2), strict=True):
        Workload(records=60_000, keys=100, seed=seed).write(file)
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()
    assert small.step == Workload(records=60_000, keys=100).step


def test_shares_and_rows_per_record(tmp_path: Path) -> None:
    workload = Workload(records=100_000, keys=2_000)
    timelines: dict[str, dict[str, str]] = {}
    latest: dict[str, str] = {}
    late = repeats = rows = 0
    for record in records(tmp_path / "a", workload):
        key, start, values = record["isin"], record["from"], json.dumps(record["terms"])
        timeline = timelines.setdefault(key, {})
        if start not in timeline:
            late += start < latest.get(key, "")
            rows += 1 if start < min(timeline, default=start) or not timeline else 3
        elif timeline[start] == values:
            repeats += 1
        else:
            rows += 2
        timeline[start] = values
        latest[key] = max(start, latest.get(key, ""))
    assert late / 100_000 == pytest.approx(0.05, abs=0.005)
    assert repeats / 100_000 == pytest.approx(0.01, abs=0.002)
    assert rows / 100_000 == pytest.approx(2.6, abs=0.05)


def test_long_histories(tmp_path: Path) -> None:
    made = records(tmp_path / "a", Workload(records=20_000, keys=2, corrections=0, late=0.5))
    assert (
        min(len({r["from"] for r in made if r["isin"] == key}) for key in {r["isin"] for r in made}) > 9_000
    )
    assert max(r["from"] for r in made) < "2027"


def test_broken_records_break_in_four_ways(tmp_path: Path) -> None:
    path = tmp_path / "a"
    Workload(records=10_000, keys=100, broken=0.1).write(path)
    lines = path.read_text().splitlines()
    assert len(lines) == 10_000
    cut = [line for line in lines if not line.endswith("}")]
    whole = [json.loads(line) for line in lines if line.endswith("}")]
    counts = [
        len(cut),
        sum("isin" not in r for r in whole),
        sum(r["from"][5] == "9" for r in whole),
        sum(r["terms"]["coupon"].startswith("A") for r in whole),
    ]
    assert all(180 < count < 330 for count in counts), counts


def test_a_run_is_measured(tmp_path: Path) -> None:
    script = (
        "x = bytearray(200 << 20); x[::4096] = bytes(51200); sum(range(10**7)); print('{\"records\": 1}')"
    )
    run = _measure([sys.executable, "-c", script], tmp_path)
    assert run.output == {"records": 1}
    assert run.peak_rss > 200 << 20
    assert run.cpu_seconds > 0
    with pytest.raises(BitlakeError, match="status 3"):
        _measure([sys.executable, "-c", "raise SystemExit(3)"], tmp_path)


def test_report() -> None:
    runs = [
        Run(2.0, 1.0, 3.0, 1 << 30, 1 << 30, {"records": 10**6}),
        Run(4.0, 3.0, 3.0, 2 << 30, 1 << 30, {"records": 10**6}),
    ]
    result = {
        "machine": machine(),
        "versions": versions(),
        "conditions": {
            "workload": {"records": 10**6},
            "source": "file",
            "child_table": True,
            "bytes": 2 * 10**8,
        },
        "runs": [vars(run) for run in runs],
        "median": median(10**6, runs),
    }
    page = report(result)
    assert "**333,333 records/s**" in page
    assert "**500,000 records/s** from the first line" in page
    assert "200 B per record" in page
    assert "| decode | 0.500 |" in stages({"decode": 0.5}, 10**6)


@pytest.mark.parametrize("children", [True, False])
def test_the_lake_is_valid(tmp_path: Path, children: bool) -> None:
    config = parse_config(lake(children=children, records_per_epoch=777), base=tmp_path, environ={})
    (dataset,) = config.datasets
    assert (dataset.name, len(dataset.children), config.commit.records) == ("bonds", int(children), 777)
