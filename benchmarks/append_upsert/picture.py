"""A comparison as a picture: writing, files, questions."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = ("#2f6690", "#e07a5f", "#3d8b6e", "#e9b44c")


def draw(result: dict[str, Any], file: Path) -> None:
    """Draw a result of `benchmarks.append_upsert.measure` as a PNG."""
    subjects = result["subjects"]
    figure = Figure(figsize=(13, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    writing, size, questions = figure.subplots(1, 3, width_ratios=(1, 1, 2))
    jobs = {name: one["job"] for name, one in subjects.items()}
    _bars(
        writing,
        {
            "job": {name: job["job_seconds"] for name, job in jobs.items()},
            "CPU of\nTaskManagers": {
                name: job["cpu_seconds"]["flink-taskmanager"] for name, job in jobs.items()
            },
        },
        "Writing, seconds",
    )
    sizes = {
        when: {name: _bytes(one[when]) for name, one in subjects.items()} for when in ("before", "after")
    }
    _bars(size, sizes, "Files before and after\ncompaction, MB")
    asked = list(next(iter(subjects.values()))["before"]["questions"])
    _bars(
        questions,
        {
            f"{name.replace(', ', chr(10))}\n{when}": {
                subject: one[when]["questions"][name]["median_seconds"] for subject, one in subjects.items()
            }
            for name in asked
            for when in ("before", "after")
        },
        "Questions in Trino before and after compaction, seconds",
    )
    questions.legend(fontsize=8)
    figure.suptitle(
        f"{result['conditions']['workload']['records']:,} records: append and upsert", fontsize=11
    )
    figure.savefig(file)


def _bytes(at: dict[str, Any]) -> float:
    files = at["files"]
    return float(sum(part["bytes"] for part in files.values() if isinstance(part, dict))) / 1e6


def _bars(axes: Axes, groups: dict[str, dict[str, float]], title: str) -> None:
    names = list(next(iter(groups.values())))
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        heights = [group[name] for group in groups.values()]
        places = [place + (number - (len(names) - 1) / 2) * width for place in range(len(groups))]
        bars = axes.bar(places, heights, width, label=name, color=COLOURS[number % len(COLOURS)])
        axes.bar_label(bars, fmt="{:.3g}", fontsize=7, padding=1)
    axes.set_xticks(range(len(groups)), list(groups), fontsize=7)
    axes.set_title(title, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", labelsize=7)
