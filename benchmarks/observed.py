"""What metrics cost: the same topic followed to its end with them and without, in turn."""

import socket
import statistics
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.figures import surroundings, table
from benchmarks.runner import Run, following, load, machine, versions
from benchmarks.topics import Filling, broker, described, topic
from benchmarks.workload import Workload

SCRAPE_SECONDS = 5.0
"""Between two questions for the metrics; Prometheus asks every 15 by default, or every minute."""


def measure(records: int, pairs: int, kept: Path | None) -> dict[str, Any]:
    """Follow a topic `pairs` times with metrics, which are asked for, and as often without.

    Who is first changes from pair to pair, so that what the machine does beside it falls on both.
    """
    workload, filling = Workload(records=records), Filling()
    with broker(kept) as cluster:
        config, words = following(cluster, topic(cluster, workload, filling), children=False)
        before = machine()
        load(config, words)  # kernels are compiled, files are in the cache
        taken: dict[bool, list[Run]] = {True: [], False: []}
        for number in range(pairs):
            for observed in (number % 2 == 0, number % 2 == 1):
                taken[observed].append(_observed(config, words) if observed else load(config, words))
    ratios = [a.cpu_seconds / b.cpu_seconds - 1 for a, b in zip(taken[True], taken[False], strict=True)]
    return {
        "machine": before,
        "versions": versions(),
        "conditions": {
            "records": records,
            "source": described(filling),
            "asked for every": f"{SCRAPE_SECONDS:.0f} s",
        },
        "with": [asdict(run) for run in taken[True]],
        "without": [asdict(run) for run in taken[False]],
        "more": [round(ratio, 4) for ratio in ratios],
    }


def report(result: dict[str, Any]) -> str:
    """A page about a result of `measure`."""
    more = result["more"]

    def middle(name: str) -> float:
        return statistics.median(run["cpu_seconds"] for run in result[name])

    error = statistics.stdev(more) / len(more) ** 0.5 if len(more) > 1 else 0.0
    return (
        "\n\n".join(
            [
                "# What metrics cost",
                (
                    "`bitlake run --until-end` with `--metrics-port` and without, in turn;"
                    " CPU of the whole process."
                ),
                table(
                    ("what", "figure"),
                    [
                        ("CPU s with, median", f"{middle('with'):.2f}"),
                        ("CPU s without, median", f"{middle('without'):.2f}"),
                        (
                            f"more, mean of {len(more)} pairs",
                            f"{statistics.mean(more):+.1%} (standard error {error:.1%})",
                        ),
                        ("more, median", f"{statistics.median(more):+.1%}"),
                        *surroundings(result),
                        *((name, str(value)) for name, value in result["conditions"].items()),
                    ],
                ),
            ]
        )
        + "\n"
    )


def _observed(config: str, words: list[str]) -> Run:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with _asking(f"http://127.0.0.1:{port}/metrics"):
        return load(config, [*words, "--metrics-port", str(port)])


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """Ask for the metrics now and then; they are not there at first, and no more at the end."""
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(SCRAPE_SECONDS):
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - of our own
                    answer.read()
            except OSError:
                continue

    thread = threading.Thread(target=ask, name="ask")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
