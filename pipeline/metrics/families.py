"""The metrics, by Prometheus' conventions: base units, `_total` for what only rises."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pipeline.sink.dead_letter_table import STAGES
from pipeline.temporal.change import OPERATIONS

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300)


class Families:
    """What epochs count.

    Attributes:
        records, changes, no_ops, dead_letters, versions, epochs: as in `Summary`, in detail.
        epoch_seconds: from an epoch's first record until it is committed.
        write_seconds, commit_seconds: writing its data files; committing them to all tables.
        last_commit: when, in seconds since 1970.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, help_: str, *labels: str) -> Counter:
            return Counter(f"bitlake_{name}", help_, ("dataset", *labels), registry=registry)

        def seconds(name: str, help_: str) -> Histogram:
            return Histogram(
                f"bitlake_{name}_seconds", help_, ("dataset",), registry=registry, buckets=_SECONDS
            )

        self.records = counter("records", "Records in committed epochs")
        self.changes = counter("changes", "Records that changed a timeline", "operation")
        self.no_ops = counter("no_ops", "Records that changed no belief")
        self.dead_letters = counter("dead_letters", "Records that could not become a change", "stage")
        self.versions = counter("versions", "Open versions written", "table")
        self.epochs = counter("epochs", "Epochs committed")
        self.epoch_seconds = seconds("epoch_duration", "From an epoch's first record to its commit")
        self.write_seconds = seconds("write_duration", "Writing an epoch's data files")
        self.commit_seconds = seconds("commit_duration", "Committing an epoch to all its tables")
        self.last_commit = Gauge(
            "bitlake_last_commit_timestamp_seconds",
            "When the last epoch was committed",
            ("dataset",),
            registry=registry,
        )

    def begin(self, datasets: Sequence[str]) -> None:
        """Have what is known of begin at 0, so that the first ones raise a rate."""
        for dataset in datasets:
            for family in (self.records, self.no_ops, self.epochs):
                family.labels(dataset)
            for durations in (self.epoch_seconds, self.write_seconds, self.commit_seconds):
                durations.labels(dataset)
            for operation in OPERATIONS:
                self.changes.labels(dataset, operation)
            for stage in STAGES:
                self.dead_letters.labels(dataset, stage)
