"""All metrics of a process that follows topics."""

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Info, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pipeline.engine.tally import LATE_BOUNDS
from pipeline.engine.watching import StateCounts, Watcher
from pipeline.metrics.families import Families
from pipeline.metrics.watched import Asked, Health, Watched

GRACE_SECONDS = 60.0
"""How much longer than an epoch may last its commit may take before a dataset is not ready."""
_DATASET = ("dataset",)
_FOUND = ("memory", "backend", "tables", "nowhere")


class Metrics:
    """The metrics of some datasets, and their health.

    Args:
        datasets: their names.
        commit_seconds: how long an epoch may last.

    Attributes:
        registry: where Prometheus' client finds the metrics.
        limit: seconds after which records that were read must be committed.
    """

    def __init__(self, datasets: Sequence[str], commit_seconds: float) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry, self.limit = CollectorRegistry(), GRACE_SECONDS + 2 * commit_seconds
        families = Families(self.registry)
        families.begin(datasets)
        self._datasets = {name: Watched(name, families) for name in datasets}
        self.registry.register(Running(list(self._datasets.values())))
        ProcessCollector(registry=self.registry)
        build = Info("bitlake_build", "What runs", registry=self.registry)
        build.info({"version": version("bitlake"), "python": platform.python_version()})

    def watching(self, passed_on: Callable[[str], Watcher]) -> Callable[[str], Watcher]:
        """Gives each dataset the watcher that fills its metrics, and tells the one of `passed_on`, too."""

        def watcher(name: str) -> Watcher:
            watched = self._datasets[name]
            watched.passed_on = passed_on(name)
            return watched

        return watcher

    def health(self) -> dict[str, Health]:
        """How each dataset is."""
        return {name: watched.health() for name, watched in self._datasets.items()}


class Running(Collector):
    """What running datasets tell of themselves when they are asked."""

    def __init__(self, datasets: Sequence[Watched]) -> None:
        self._datasets = datasets

    def collect(self) -> Iterator[Metric]:
        """Ask all of them."""
        asked = {watched.dataset: watched.ask() for watched in self._datasets}
        running = {name: told for name, told in asked.items() if told is not None}
        yield from _topics(running)
        yield from _states({name: told.state for name, told in running.items()})
        yield from _healths({watched.dataset: watched.health() for watched in self._datasets})
        yield _late(self._datasets)


def _topics(running: dict[str, Asked]) -> Iterator[Metric]:
    lag = GaugeMetricFamily(
        "bitlake_lag_offsets",
        "Offsets in the topic that are still to be read",
        labels=("dataset", "partition"),
    )
    fetched = CounterMetricFamily(
        "bitlake_fetched_bytes", "Bytes of record batches received", labels=_DATASET
    )
    strayed = CounterMetricFamily(
        "bitlake_strayed_keys", "Keys met in more than one partition", labels=_DATASET
    )
    for name, told in running.items():
        for partition, offsets in told.lags.items():
            lag.add_metric((name, str(partition)), offsets)
        fetched.add_metric((name,), told.fetched_bytes)
        strayed.add_metric((name,), told.strayed)
    yield from (lag, fetched, strayed)


def _states(states: dict[str, StateCounts]) -> Iterator[Metric]:
    keys = GaugeMetricFamily("bitlake_state_keys", "Keys in memory", labels=_DATASET)
    memory = GaugeMetricFamily("bitlake_state_memory_bytes", "Memory that timelines take", labels=_DATASET)
    lookups = CounterMetricFamily(
        "bitlake_state_lookups",
        "Where keys of records were found: in memory, in the state backend, in the tables, or nowhere yet",
        labels=("dataset", "found"),
    )
    disk = GaugeMetricFamily("bitlake_state_disk_bytes", "What the state of all datasets takes on disk")
    for name, state in states.items():
        keys.add_metric((name,), state.keys)
        memory.add_metric((name,), state.memory_bytes)
        for found, count in zip(_FOUND, (state.met, state.restored, state.read_back, state.new), strict=True):
            lookups.add_metric((name, found), count)
    if states:
        disk.add_metric((), max(state.disk_bytes for state in states.values()))
    yield from (keys, memory, lookups, disk)


def _healths(healths: dict[str, Health]) -> Iterator[Metric]:
    up = GaugeMetricFamily("bitlake_dataset_up", "1 while a dataset follows its topic", labels=_DATASET)
    horizon = GaugeMetricFamily(
        "bitlake_horizon_age_seconds", "How far behind now belief is final", labels=_DATASET
    )
    waiting = GaugeMetricFamily(
        "bitlake_uncommitted_age_seconds",
        "How long records that were read wait for their commit",
        labels=_DATASET,
    )
    away = GaugeMetricFamily(
        "bitlake_server_away",
        "1 while a server that is needed to read or to commit does not answer",
        labels=_DATASET,
    )
    for name, health in healths.items():
        up.add_metric((name,), health.state == "following")
        if health.horizon is not None:
            horizon.add_metric((name,), time.time() - health.horizon)
        waiting.add_metric((name,), health.uncommitted_seconds)
        away.add_metric((name,), health.server_away)
    yield from (up, horizon, waiting, away)


def _late(datasets: Sequence[Watched]) -> Metric:
    family = HistogramMetricFamily(
        "bitlake_late_distance_seconds",
        "How long after its valid_from a change was known: system time less valid time",
        labels=_DATASET,
    )
    for watched in datasets:
        counts = watched.late.cumsum().tolist()
        bounds = [*(str(float(bound)) for bound in LATE_BOUNDS), "+Inf"]
        buckets = list(zip(bounds, counts, strict=True))
        family.add_metric((watched.dataset,), buckets, watched.late_seconds)
    return family
