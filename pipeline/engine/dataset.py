"""One dataset being written: decoder, timelines and committer, and the epoch between them."""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pipeline.config import DatasetConfig, LakeConfig, ValidEnd, ValidTime, dataset_schema
from pipeline.decode import NEVER_AHEAD, Batch, Decoder
from pipeline.engine.arrival import (
    Arrival,
    advanced,
    begin_topic,
    clock_of,
    clocks_at,
    files_partition,
    lifted,
    topic_offsets,
)
from pipeline.engine.checkpoints import Checkpoints
from pipeline.engine.committer import Committer, Cut
from pipeline.engine.dead_letters import Origin
from pipeline.engine.epoch import Draft
from pipeline.engine.journal import Journal
from pipeline.engine.letters import Letters
from pipeline.engine.memory import EpochMemory
from pipeline.engine.options import decode_options
from pipeline.engine.outgoing import Outgoing
from pipeline.engine.patience import Patience
from pipeline.engine.progress import Progress
from pipeline.engine.rebuild import read_back
from pipeline.engine.recover import claim, complete, make_anew, restore, settle
from pipeline.engine.tally import Tally
from pipeline.engine.timelines import Timelines
from pipeline.engine.watching import Committed, StateCounts
from pipeline.schema import DatasetSchema
from pipeline.sink.lake_sink import LakeSink
from pipeline.sink.lease import SECONDS, Tenant
from pipeline.sink.tables import Mode
from pipeline.source.block import Block
from pipeline.source.kafka import NO_TIMESTAMP, KafkaBlock
from pipeline.temporal.marks import Marks
from pipeline.temporal.store import Ints, physical_memory
from state.base import LocalState

log = logging.getLogger(__name__)

LEAST_RECORDS = 50_000
"""An epoch that ends because memory is full has more: commits would cost more than their records."""
LEAST_SWEEP_SECONDS = 60.0
"""Between two looks for idle keys."""
HEARTBEAT_SECONDS = 300.0
"""After so long without records, an epoch tells how far belief is final."""


@dataclass(frozen=True)
class Decoded:
    """A batch, and the dataset's schema after it."""

    batch: Batch
    schema: DatasetSchema


@dataclass(frozen=True)
class Terms:
    """How a dataset is written.

    Attributes:
        envelope: records come in envelopes.
        share: how many datasets share the process's memory.
        memory: what epochs hold of it; None: the dataset is alone.
        patience: how long servers that are away are waited for.
        take_over: the dataset is taken from another writer, also from one that seems to be alive.
        closely: epochs are to have a tally.
    """

    envelope: bool = False
    share: int = 1
    memory: EpochMemory | None = None
    patience: Patience = field(default_factory=Patience)
    take_over: bool = False
    closely: bool = False


class DatasetWriter:
    """Writes one dataset; not to be used by two threads at once.

    Args:
        lake: the whole configuration.
        config: the dataset's.
        sink, backend: where rows and state go.
        committed: called after each epoch, on another thread.
        terms: how it is written.

    Attributes:
        position: where the records applied so far end.
        strayed: keys met in more than one partition so far.
    """

    def __init__(
        self,
        lake: LakeConfig,
        config: DatasetConfig,
        sink: LakeSink,
        backend: LocalState,
        *,
        committed: Callable[[Committed], None],
        terms: "Terms | None" = None,
    ) -> None:
        terms = terms or Terms()
        self._config, self._limits, self._seed = config, lake.commit, Journal.seed(backend)
        self._max_ahead = lake.time.max_ahead_us
        self._journal = Journal(backend, config.name)
        mode: Mode = config.mode.value
        partition_by = config.partitions
        owner = Journal.owner(backend)
        if not terms.take_over:
            sink.check_lease(dataset_schema(config), owner)
        make_anew(sink, self._journal, dataset_schema(config), mode=mode, partition_by=partition_by)
        schema = sink.open(dataset_schema(config), mode=mode, partition_by=partition_by)
        claim(sink, schema, Tenant.here(owner, max(SECONDS, 3 * lake.commit.seconds)))
        self._outgoing = Outgoing.of(lake, config, terms.patience)
        with self._outgoing.closed_on_failure():
            settle(sink, self._journal, schema, self._outgoing)
            complete(sink, schema)
            schema = sink.open(dataset_schema(config), mode=mode, partition_by=partition_by)
            self._patience = terms.patience
            self._timelines = Timelines(
                self._journal,
                dated=config.valid_time is ValidTime.DATE,
                next_change=config.valid_end is ValidEnd.NEXT_CHANGE,
                read_back=self._read_back,
            )
            self._sink, self._schema, self._idle_after = sink, schema, config.state_ttl_us
            self.position = restore(sink, self._journal, schema, self._timelines, self._seed, self._outgoing)
        self._decoder = Decoder(schema, decode_options(config, envelope=terms.envelope), self._seed)
        self._backend, self._closely = backend, terms.closely
        self._draft, self._envelope = Draft(schema, tally=self._new_tally()), terms.envelope
        self._checkpoints = Checkpoints(self._timelines)
        self._memory = (lake.state_memory or physical_memory() // 2) // terms.share
        self._partitions: frozenset[int] = frozenset((files_partition(self.position),))
        self._idle_margin, self._committed_at = lake.time.idle_margin_us, time.monotonic()
        self._swept_at, self._swept_to = time.monotonic(), self.position.horizon
        self._told, self._newest = self.position, self.position.horizon
        self.strayed = self._strayed_told = 0
        self._share = (terms.memory or EpochMemory.of(self._limits.memory)).share()
        self._committer = Committer(
            sink, self._journal, self._timelines, config.topic, committed, self._outgoing, self._share
        )

    def read_from(self, topic_id: str, begun: Mapping[int, int]) -> None:
        """Say that what comes now is of a topic; dead letters must have theirs.

        Args:
            topic_id: which topic.
            begun: by partition, the offset where reading it begins; in the tables when this returns.

        Raises:
            Unavailable: the brokers, or the catalog, are away.
        """
        self._outgoing.check()
        self.position = begin_topic(self.position, topic_id)
        self._partitions = frozenset(begun)
        self.begin(begun)
        self._committer.drain()

    def begin(self, begun: Mapping[int, int]) -> None:
        """Say where partitions begin: an epoch tells at once of those that the position does not know.

        Otherwise a restart could not tell what came to them, or was deleted from them, before the first read.
        """
        self._partitions |= frozenset(begun)
        if begun.keys() - self.position.offsets.keys():
            self.position = replace(self.position, offsets={**begun, **self.position.offsets})
            self.cut(though_empty=True)

    def decode(self, block: Block | KafkaBlock) -> Decoded:
        """Decode a block's records; may run ahead of `apply` on another thread."""
        latest = time.time_ns() // 1000 + self._max_ahead
        if isinstance(block, Block):
            batch = self._decoder.decode(block.buffer, block.starts, block.ends, latest=latest)
        else:
            batch = self._decoder.decode(
                block.buffer,
                block.starts,
                block.ends,
                (block.key_starts, block.key_ends),
                np.where(block.timestamps == NO_TIMESTAMP, block.fetched_at, block.timestamps),
                latest=NEVER_AHEAD if block.log_append else latest,
            )
        return Decoded(batch, self._decoder.schema)

    def replay(self, letters: Letters, now: int) -> None:
        """Apply dead letters of one partition again; its offset stays where it is.

        Of those refused again, the epoch says why.

        Args:
            letters: in order.
            now: the replay's time in microseconds.
        """
        if letters.envelope != self._envelope:
            options = decode_options(self._config, envelope=letters.envelope)
            self._decoder = Decoder(self._decoder.schema, options, self._seed)
            self._envelope = letters.envelope
        batch, schema = letters.decode(self._decoder), self._decoder.schema
        clock = max(now, self.position.clocks.get(letters.partition, now))
        clocks = np.full(len(batch), clock)
        self._schema = schema
        admitted = self._timelines.admit(batch, letters.offsets, clocks, letters.partition)
        origin = Origin.of(self._config, letters.partition, envelope=letters.envelope)
        while admitted.done < len(batch):
            done = self._timelines.apply(admitted, schema, self._draft.rows)
            self._share.fill(self._draft.nbytes)
            if self._draft.add_replayed(batch, letters.rows, admitted, done, (clock, now), origin):
                self._draft.dataset = schema
                partitions = {*topic_offsets(self.position), letters.partition}
                self.position = lifted(self.position, {letters.partition: clock}, partitions)
            if admitted.done < len(batch):
                self.cut()

    def apply(
        self,
        decoded: Decoded,
        block: Block | KafkaBlock,
        arrival: Arrival,
        progress: Callable[[int], dict[str, Any]] | None = None,
    ) -> None:
        """Apply a batch of records and cut epochs as they fill.

        Args:
            decoded, block: the records, decoded and as they came.
            arrival: where from.
            progress: given how many of the block's records an epoch holds, what it remembers of the source.
        """
        batch, partition, total = decoded.batch, arrival.partition, len(decoded.batch)
        timestamps = batch.timestamp if arrival.started is None else np.full(total, arrival.started)
        origin = Origin.of(self._config, partition, envelope=self._envelope, file=arrival.file)
        clock = clock_of(self.position, partition)
        self._partitions |= {partition}
        self._schema = decoded.schema
        clocks = clocks_at(batch.ahead, timestamps, clock)
        admitted = self._timelines.admit(batch, arrival.offsets, clocks, partition)
        while True:
            done = self._timelines.apply(admitted, decoded.schema, self._draft.rows)
            self._draft.dataset = decoded.schema
            self._draft.add(batch, block, timestamps, admitted, done, origin)
            self._share.fill(self._draft.nbytes)
            clock = int(clocks[done.stop - 1]) if done.stop else clock
            self.position = advanced(
                self.position,
                partition,
                arrival.after(done.stop),
                clock,
                self._partitions,
                progress(done.stop) if progress else None,
            )
            if admitted.done == total:
                break
            self.cut()
        self._newest = max(self._newest, clock)
        self._tell_strayed(admitted.strayed)

    def lift(self, read_to: Mapping[int, int], partitions: Collection[int]) -> None:
        """Lift the clocks of partitions that are read to their end.

        Args:
            read_to: by partition, the time in microseconds before which nothing was left in it.
            partitions: all partitions of the topic.
        """
        self._partitions |= frozenset(partitions)
        clocks = {
            partition: max(when - self._idle_margin, clock_of(self.position, partition))
            for partition, when in read_to.items()
        }
        self.position = lifted(self.position, clocks, self._partitions)

    def cut_if_due(self) -> None:
        """End the epoch if it is full, or if there is none and the horizon has waited for long."""
        idle = time.monotonic() - self._committed_at
        if self._draft.summary.records:
            self.cut_if_full()
        elif self.horizon_waits() and idle >= self._limits.seconds:
            self._cut_and_tidy(though_empty=True)

    def horizon_waits(self) -> bool:
        """Whether the tables are to be told of a higher horizon though there are no records.

        Once when it passes what was written last; then now and then, since every telling is a snapshot.
        """
        news = self.position.horizon > self._told.horizon
        overdue = time.monotonic() - self._committed_at >= HEARTBEAT_SECONDS
        return news and (overdue or self._told.horizon < self._newest <= self.position.horizon)

    def cut_if_full(self) -> None:
        """End the epoch if it holds enough, lasts long, or memory is full; wait while it is short.

        One that lasts long goes on while the one before is being committed: slow commits make larger epochs.
        """
        crowded = self._draft.summary.records > LEAST_RECORDS and self._timelines.full(self._memory)
        old = self._draft.old(self._limits.seconds) and not self._committer.busy
        if self._share.short or crowded or old or self._draft.full(self._limits.records):
            self._cut_and_tidy(though_empty=False)
            self._share.wait(self._committer.check)

    def cut(self, *, though_empty: bool = False) -> None:
        """End the epoch here and hand it over to be committed; by default not where it holds no records."""
        self._cut(though_empty=though_empty, freeze=False)

    def _cut(self, *, though_empty: bool, freeze: bool) -> None:
        draft = self._draft
        if draft.summary.records == 0 and not though_empty:
            return
        self.position = replace(self.position, epoch=self.position.epoch + 1)
        self._told, self._committed_at = self.position, time.monotonic()
        self._checkpoints.note(draft.summary.records)
        if freeze:
            self._wait_for_frozen()
            self._checkpoints.start_anew()
        written, held = self._checkpoints.written(), self._share.cut()
        self._committer.commit(
            Cut(draft, self.position, held, self._timelines.current, last=freeze, written=written)
        )
        self._draft = Draft(draft.dataset, self._committer.spare_rows(), tally=self._new_tally())
        if freeze:
            self._freeze()
        elif written is None:
            self._checkpoints.go_on(self.position.epoch)

    def remembered(self) -> Progress | None:
        """The loads that the tables tell of, less one whose caller was told of its end."""
        load = Progress.from_json(self.position.progress)
        told = load is not None and load.finished and self._journal.reported() == self.position.progress
        return load.told() if load is not None and told else load

    def finish(self, load: Progress) -> None:
        """Commit what is left, and that the load is finished."""
        before = Progress.from_json(self.position.progress)
        if before is not None and before.started == load.started and before != load:
            self.position = replace(self.position, progress=load.to_json())
            self.cut(though_empty=True)

    def report(self, load: Progress) -> None:
        """The load's caller is told of its end; the epochs are committed."""
        if self.position.progress == load.to_json():
            self._journal.report(self.position.progress)

    def state(self) -> StateCounts:
        """The dataset's keys; from any thread."""
        timelines = self._timelines
        met = timelines.lookups
        return StateCounts(
            keys=timelines.in_memory(),
            memory_bytes=timelines.used(),
            met=met.met,
            restored=met.restored,
            read_back=met.read_back,
            new=met.new,
            disk_bytes=self._backend.size().disk_bytes,
        )

    def close(self) -> None:
        """Wait for the epochs handed over; what was not cut is forgotten, to be read again."""
        try:
            self._committer.close()
        finally:
            self._share.close()
            self._outgoing.close()
            self._journal.close()

    def _new_tally(self) -> Tally | None:
        return Tally(self._config.valid_time is ValidTime.DATE) if self._closely else None

    def _tell_strayed(self, keys: int) -> None:
        """Keys in several partitions: their order is not that of any of them."""
        self.strayed += keys
        if self.strayed >= 2 * self._strayed_told and keys:
            self._strayed_told = self.strayed
            log.warning(
                "keys met in a second partition: set the message key to the dataset's key",
                extra={"dataset": self._config.name, "keys": keys, "in_all": self.strayed},
            )

    def _cut_and_tidy(self, *, though_empty: bool) -> None:
        """End the epoch between two batches, where keys may get other numbers; let keys leave memory."""
        self._cut(though_empty=though_empty, freeze=self._timelines.full(self._memory))
        if self._idle_after is None:
            return
        # Ten looks while a key becomes idle.
        rested = time.monotonic() - self._swept_at >= LEAST_SWEEP_SECONDS
        if rested and self.position.horizon - self._swept_to >= self._idle_after // 10:
            self._committer.drain()
            self._timelines.checkpoint()
            self._checkpoints.start_anew()
            left = self._timelines.leave(self.position.horizon - self._idle_after)
            log.info("idle keys left the state", extra={"dataset": self._config.name, "keys": left})
            self._swept_at, self._swept_to = time.monotonic(), self.position.horizon

    def _read_back(self, timelines: Timelines, numbers: Ints, marks: Marks) -> None:
        """Bring keys back that were left to the tables; all of their changes are committed."""
        log.info("reading keys back", extra={"dataset": self._config.name, "keys": numbers.size})
        read_back(self._sink, self._schema, timelines, numbers, marks, self._seed, self._patience)

    def _wait_for_frozen(self) -> None:
        """Wait until the generation of keys before this one is written, and may leave memory."""
        if self._timelines.frozen is not None:
            self._committer.wait_for(self._timelines.frozen)
            self._timelines.settle()

    def _freeze(self) -> None:
        """Begin a new generation of keys."""
        timelines = self._timelines
        log.info(
            "a generation of keys leaves memory",
            extra={"dataset": self._config.name, "keys": timelines.current.count, "bytes": timelines.used()},
        )
        timelines.freeze(self._memory)
