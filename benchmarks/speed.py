"""The table of speeds from Kafka: a scenario to a row, all measured in turn: ratios are of the same hour."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import gigabytes, stages, surroundings, table
from benchmarks.runner import Run, following, load, machine, median, versions
from benchmarks.stages import profile_topic
from benchmarks.topics import Filling, broker, described, topic
from benchmarks.workload import Workload


@dataclass(frozen=True)
class Scenario:
    """A row of the table.

    Attributes:
        what: in words.
        workload, filling: the topic.
        children: with the child table.
        beside: the scenario whose rate its own is compared with.
        more: more of lake.yaml.
        reach, aim: records per second, or a share of the other's where there is one; 0: none.
    """

    what: str
    workload: Workload
    filling: Filling = Filling()  # noqa: RUF009 - frozen
    children: bool = False
    beside: str | None = None
    more: str = ""
    reach: float = 0
    aim: float = 0


SCENARIOS = {
    "parent": Scenario("parent table", Workload(), reach=350_000, aim=600_000),
    "children": Scenario("with the child table", Workload(), children=True, reach=210_000, aim=400_000),
    "large": Scenario(
        "20 million records and 1 million keys",
        Workload(records=20_000_000, keys=1_000_000),
        beside="parent",
        reach=0.85,
        aim=1,
    ),
    # Half of the records lie anywhere in the past; their keys pass 10,000 segments and end at 13,500.
    "deep": Scenario(
        "100 keys with 10,000 segments each, retroactive changes anywhere",
        Workload(records=2_000_000, keys=100, late=0.5),
        beside="parent",
        reach=0.7,
        aim=1,
    ),
    # Ten million keys of 650 bytes: memory for a sixth of them, and for their index.
    "cold": Scenario(
        "state larger than its memory, 10 million keys",
        Workload(records=20_000_000, keys=10_000_000),
        more="state_memory: 1200MB",
        reach=100_000,
        aim=250_000,
    ),
    "tiny": Scenario(
        "one message per batch",
        Workload(records=1_000_000),
        Filling(batched=False),
        reach=100_000,
        aim=200_000,
    ),
    "broken": Scenario("0.1 % broken records", Workload(broken=0.001), beside="parent", reach=0.95, aim=1),
}


def measure(names: Sequence[str], runs: int, kept: Path | None, *, profiled: bool = True) -> dict[str, Any]:
    """Follow the scenarios' topics to their ends, one after the other, `runs` times.

    Args:
        names: of `SCENARIOS`.
        runs: how often; the median counts.
        kept: where the broker keeps its topics from one time to the next.
        profiled: follow the first once more in this process, to see where its time goes.
    """
    with broker(kept) as cluster:
        topics = {name: topic(cluster, SCENARIOS[name].workload, SCENARIOS[name].filling) for name in names}
        before = machine()
        taken: dict[str, list[Run]] = {name: [] for name in names}
        for name in [name for _ in range(runs) for name in names]:
            config, words = following(
                cluster, topics[name], children=SCENARIOS[name].children, more=SCENARIOS[name].more
            )
            taken[name].append(load(config, words))
        profiles = {
            name: profile_topic(
                cluster, topics[name], children=SCENARIOS[name].children, more=SCENARIOS[name].more
            )
            for name in names[: int(profiled)]
        }
    return {
        "machine": before,
        "versions": versions(),
        "scenarios": {
            name: {
                **asdict(SCENARIOS[name]),
                "source": described(SCENARIOS[name].filling),
                "runs": [asdict(run) for run in runs_],
                "median": median(SCENARIOS[name].workload.records, runs_),
                "beside_ratio": _ratio(name, taken),
                "stages": profiles.get(name),
            }
            for name, runs_ in taken.items()
        },
    }


def _ratio(name: str, taken: dict[str, list[Run]]) -> float | None:
    """The rate as a share of that of the scenario beside it."""
    beside = SCENARIOS[name].beside
    if beside not in taken:
        return None
    own, other = (
        SCENARIOS[one].workload.records / statistics.median(run.load_seconds for run in taken[one])
        for one in (name, beside)
    )
    return round(own / other, 3)


def report(result: dict[str, Any]) -> str:
    """A page about a result of `measure`."""
    scenarios = result["scenarios"]
    parts = [
        "# From Kafka to committed rows",
        (
            "`bitlake run --until-end`, the broker on the same cores. Medians; the rate is from the first"
            " fetch to the last committed row, *whole* that of the process from its start to its end."
        ),
        table(
            ("scenario", "records/s", "whole", "CPU µs", "peak PSS", "of its reference", "reach", "aim"),
            [_line(one) for one in scenarios.values()],
        ),
        table(
            ("what", "figure"),
            [
                *surroundings(result),
                *((f"{name}: source", one["source"]) for name, one in scenarios.items()),
                *((f"{name}: workload", _plain(one["workload"])) for name, one in scenarios.items()),
                *((f"{name}: output", _plain(one["runs"][-1]["output"])) for name, one in scenarios.items()),
            ],
        ),
        table(
            ("scenario", "run", "wall s", "load s", "CPU s", "peak PSS"),
            [
                (
                    name,
                    str(number),
                    f"{run['wall_seconds']:.2f}",
                    f"{run['load_seconds']:.2f}",
                    f"{run['cpu_seconds']:.2f}",
                    gigabytes(run["peak_pss"]),
                )
                for name, one in scenarios.items()
                for number, run in enumerate(one["runs"], 1)
            ],
        ),
    ]
    for name, one in scenarios.items():
        if one["stages"]:
            parts.append(f"CPU of *{name}* by stage, in one more run in another process, start-up left out:")
            parts.append(stages(one["stages"], one["workload"]["records"]))
    return "\n\n".join(parts) + "\n"


def _line(one: dict[str, Any]) -> tuple[str, ...]:
    middle = one["median"]

    def goal(value: float) -> str:
        return f"{value:.0%}" if one["beside"] else f"{value:,.0f}"

    return (
        one["what"],
        f"{middle['load_records_per_second']:,}",
        f"{middle['records_per_second']:,}",
        f"{middle['cpu_microseconds_per_record']:.2f}",
        gigabytes(middle["peak_pss"]),
        f"{one['beside_ratio']:.0%}" if one["beside_ratio"] else "",
        goal(one["reach"]),
        goal(one["aim"]),
    )


def _plain(values: dict[str, Any]) -> str:
    return json.dumps(values).strip("{}").replace('"', "")
