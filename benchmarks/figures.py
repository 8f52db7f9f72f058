"""Results as Markdown, for `benchmarks/results/`."""

from collections.abc import Mapping, Sequence
from typing import Any


def report(result: dict[str, Any]) -> str:
    """A page about one result of `benchmarks.runner.bench`."""
    conditions, middle = result["conditions"], result["median"]
    workload = conditions["workload"]
    last = result["runs"][-1]["output"]
    kind = "with" if conditions["child_table"] else "without"
    parts = [
        f"# {workload['records']:,} records {kind} the child table",
        (
            f"{_load(middle)}**{middle['records_per_second']:,} records/s** for the whole process"
            f" ({middle['wall_seconds']} s), medians of {len(result['runs'])} runs,"
            f" {middle['cpu_microseconds_per_record']} µs of CPU per record,"
            f" peak memory {gigabytes(middle['peak_pss'])}."
        ),
        table(
            ("what", "figure"),
            [
                *surroundings(result),
                ("source", conditions["source"]),
                ("input", f"{conditions['bytes'] / workload['records']:.0f} B per record"),
                *((name.replace("_", " "), str(value)) for name, value in workload.items()),
                *((f"output: {name.replace('_', ' ')}", _plain(value)) for name, value in last.items()),
            ],
        ),
        table(
            ("run", "wall s", "load s", "CPU s", "records/s", "peak RSS"),
            [
                (
                    str(number),
                    f"{run['wall_seconds']:.2f}",
                    f"{run['load_seconds']:.2f}",
                    f"{run['cpu_seconds']:.2f}",
                    f"{workload['records'] / run['wall_seconds']:,.0f}",
                    gigabytes(run["peak_rss"]),
                )
                for number, run in enumerate(result["runs"], 1)
            ],
        ),
    ]
    if "stages" in result:
        parts.append("CPU by stage, measured in one more run in this process, other threads beside it:")
        parts.append(stages(result["stages"], workload["records"]))
    return "\n\n".join(parts) + "\n"


def stages(seconds: dict[str, float], records: int) -> str:
    """The stage table: CPU seconds by stage as µs per record."""
    rows = [(name, f"{spent / records * 1e6:.3f}") for name, spent in seconds.items()]
    rows.append(("together", f"{sum(seconds.values()) / records * 1e6:.3f}"))
    return table(("stage", "µs per record"), rows)


def surroundings(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of a table: where a result was measured, and with what."""
    machine = result["machine"]
    return [
        ("machine", f"{machine['cpu']}, {machine['cores']} cores, {gigabytes(machine['memory_bytes'])}"),
        ("system", f"{machine['system']}, load {machine['load_before']} before"),
        ("versions", ", ".join(f"{name} {version}" for name, version in result["versions"].items())),
    ]


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _load(middle: dict[str, float]) -> str:
    rate = middle["load_records_per_second"]
    return f"**{rate:,} records/s** from the first line to the last committed row, " if rate else ""


def gigabytes(size: float) -> str:
    """Bytes, in words."""
    return f"{size / 2**30:.2f} GiB"


def _plain(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
