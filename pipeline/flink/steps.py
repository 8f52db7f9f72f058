"""What the job's steps count and measure, as metrics of Flink, and how Python logs in a TaskManager.

Prometheus has them as ``flink_taskmanager_job_task_operator_bitlake_dataset_NAME``, with the label
``dataset``; one more label is in the name, too: ``..._dataset_stage_dead_letters``. Times are summaries of
microseconds. Only counters and histograms: a gauge would call Python from another thread.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from pipeline.engine.timelines import Applied, Lookups
from pipeline.flink.timelines import FlinkTimelines
from pipeline.logs import LogFormat, configure_logs
from pipeline.schema import DatasetSchema
from pipeline.temporal.change import OPERATIONS, Rows

log = logging.getLogger(__name__)

Item = TypeVar("Item")
_WINDOW = 1000
"""Values that a summary is of: the last ones."""


class Steps:
    """The metrics of one operator and dataset.

    Args:
        context: Flink's, of an operator in thread mode.
        dataset: its name.
        step: what it does.
        counters: those of its counters without a label, which are 0 from the start.
    """

    def __init__(self, context: Any, dataset: str, step: str, counters: Sequence[str]) -> None:
        configure_logs(LogFormat.JSON, logging.INFO)
        self._group = context.get_metrics_group().add_group("bitlake").add_group("dataset", dataset)
        self._counters: dict[tuple[str, str], Any] = {}
        self._times: dict[str, Any] = {}
        for name in counters:
            self.count(name, 0)
        log.info("began", extra={"dataset": dataset, "step": step})

    def count(self, name: str, more: int, **label: str) -> None:
        """Count on; a label has one name."""
        value = next(iter(label.values()), "")
        counter = self._counters.get((name, value))
        if counter is None:
            group = self._group
            for kind in label:
                group = group.add_group(kind, value)
            counter = self._counters[name, value] = group.counter(name)
        if more:
            counter.inc(int(more))

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Measure how long a block takes."""
        begun = time.perf_counter_ns()
        yield
        self._took(step, time.perf_counter_ns() - begun)

    def timed_each(self, step: str, items: Iterator[Item]) -> Iterator[Item]:
        """Measure how long each item takes to be made, without what is done with it then."""
        while True:
            begun = time.perf_counter_ns()
            try:
                item = next(items)
            except StopIteration:
                return
            self._took(step, time.perf_counter_ns() - begun)
            yield item

    def letters(self, rows: pa.Table) -> None:
        """Count dead letters by the step that refused them."""
        for stage, count in Counter(rows["stage"].to_pylist()).items():
            self.count("dead_letters", count, stage=stage)

    def _took(self, step: str, nanoseconds: int) -> None:
        times = self._times.get(step)
        if times is None:
            times = self._times[step] = self._histogram(f"{step}_microseconds")
        times.update(nanoseconds // 1000)

    def _histogram(self, name: str) -> Any:
        """PyFlink has none: the one of Java."""
        from pemja import findClass

        made = findClass("org.apache.flink.runtime.metrics.DescriptiveStatisticsHistogram")(_WINDOW)
        self._group._metrics.histogram(name, made)
        return made


class MeasuredTimelines(FlinkTimelines):
    """Timelines that tell `Steps` what they do; arguments as `FlinkTimelines` takes them."""

    def __init__(self, steps: Steps, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._steps, self._told = steps, Lookups()
        for operation in OPERATIONS:
            steps.count("changes", 0, operation=operation)

    def apply(self, admitted: Applied, schema: DatasetSchema, rows: Rows) -> slice:
        """Apply, and count what became of the changes."""
        strayed = admitted.strayed
        with self._steps.timed("apply"):
            done = super().apply(admitted, schema, rows)
        changed = admitted.changes.outcome[done] != 0
        operations = np.bincount(admitted.changes.operation[done][changed], minlength=len(OPERATIONS))
        for operation, count in zip(OPERATIONS, operations.tolist(), strict=True):
            self._steps.count("changes", count, operation=operation)
        self._steps.count("no_ops", int(np.count_nonzero(~changed)))
        self._steps.count("strayed_keys", admitted.strayed - strayed)
        self._tell_lookups()
        return done

    def _tell_lookups(self) -> None:
        now, told = self.lookups, self._told
        for found in ("met", "restored", "read_back", "new"):
            self._steps.count("lookups", getattr(now, found) - getattr(told, found), found=found)
        self._told = now
