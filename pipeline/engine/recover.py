"""Opening a dataset: an epoch left half done is finished or forgotten, and state and tables must agree."""

import logging
from collections.abc import Sequence

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from pipeline.engine.journal import Journal
from pipeline.engine.layout import fits, layout_of
from pipeline.engine.outgoing import Outgoing
from pipeline.engine.rebuild import rebuild
from pipeline.engine.timelines import Timelines
from pipeline.errors import Refused
from pipeline.faults import reach
from pipeline.schema import DatasetSchema
from pipeline.sink.epoch import Position
from pipeline.sink.flink_positions import InPart
from pipeline.sink.lake_sink import LakeSink
from pipeline.sink.lease import Tenant
from pipeline.sink.tables import Mode

log = logging.getLogger(__name__)

IN_PART_SECONDS = 60.0

_ONE_HISTORY = (
    "restore the tables or the catalog that belong to this state, or move the state directory away to go on"
    " from the tables"
)


def make_anew(
    sink: LakeSink,
    journal: Journal,
    dataset: DatasetSchema,
    *,
    mode: Mode,
    partition_by: Sequence[str],
) -> None:
    """Drop the dataset's tables if lake.yaml says otherwise now and they never held a row: it starts over.

    A process that dies on the way leaves a table that does not fit, and the next one gets here again: those
    are dropped last.

    Args:
        sink, journal, dataset: the tables, the state and what lake.yaml says.
        mode, partition_by: as `LakeSink.open` takes them.
    """
    unfit = sink.unfit(dataset, mode=mode, partition_by=partition_by)
    intent = journal.intent()
    if not unfit or (intent is not None and intent.files is not None):
        return
    log.warning(
        "its tables, which never held a row, are made anew",
        extra={"dataset": dataset.name, "because": next(why for why in unfit.values() if why)},
    )
    journal.clear()
    reach("after-clearing")
    sink.drop(unfit)


def claim(sink: LakeSink, dataset: DatasetSchema, tenant: Tenant) -> None:
    """Take a dataset from whoever wrote it last.

    A Flink job that is fenced off begins no other checkpoint, but commits the rest of one that some tables
    have: that is waited for.

    Raises:
        InPart: it does not commit the rest; it may have died.
    """
    sink.claim(dataset, tenant)
    if sink.had_a_job(dataset):
        wait_whole(sink, dataset)


def wait_whole(sink: LakeSink, dataset: DatasetSchema) -> None:
    """Wait while a checkpoint of a Flink job is in some tables only.

    Raises:
        InPart: it stays so.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(InPart),
        stop=stop_after_delay(IN_PART_SECONDS),
        wait=wait_fixed(1),
        reraise=True,
    )
    retrying(sink.positions, dataset)


def complete(sink: LakeSink, dataset: DatasetSchema) -> None:
    """Finish the last epoch of another writer, of another state, in all tables, and its dead letters.

    The dataset is claimed: nobody else is at it.
    """
    for find in (sink.unfinished, sink.missing_letters):
        if files := find(dataset):
            epoch, tables = files.position.epoch, [part.identifier for part in files.tables]
            log.warning(
                "finishing an epoch of another writer",
                extra={"dataset": dataset.name, "epoch": epoch, "tables": tables},
            )
            sink.commit(files)


def settle(sink: LakeSink, journal: Journal, dataset: DatasetSchema, outgoing: Outgoing) -> None:
    """Finish the epoch whose files were all written; forget one whose files were not.

    Raises:
        Refused: the tables are not where the epoch began.
    """
    intent = journal.intent()
    if intent is None:
        return
    epoch, mark = intent.position.epoch, journal.mark()
    reach("before-settling")
    positions = sink.positions(dataset)
    own = {t.identifier: positions[t.identifier] for t in dataset.tables}
    # Beyond it: the state is an old copy, from before others wrote to the tables.
    beyond = any(p is not None and p.epoch > epoch for p in own.values())
    if intent.files is None or beyond or sink.superseded(intent.files) or sink.elsewhere(intent.files):
        log.info("forgetting an epoch", extra={"dataset": dataset.name, "epoch": epoch})
        journal.abandon(intent)
    else:
        members = sink.members(dataset) | {dataset.parent.identifier}
        for name, position in own.items():
            started = mark is None or name not in members if position is None else position == mark
            if not started and (position is None or position.epoch != epoch):
                raise Refused(
                    f"'{dataset.name}': epoch {epoch} was being committed, but {name} is at"
                    f" {_epoch_of(position)}: it was rolled back or dropped",
                    next_step=_ONE_HISTORY,
                )
        log.info("finishing an epoch", extra={"dataset": dataset.name, "epoch": epoch})
        sink.commit(intent.files)
        outgoing.send_again(sink, dataset.name, epoch)
        journal.finish(intent.position)
    reach("after-settling")


def restore(
    sink: LakeSink,
    journal: Journal,
    dataset: DatasetSchema,
    timelines: Timelines,
    seed: int,
    outgoing: Outgoing,
) -> Position:
    """Bring the timelines to where the tables are; the position to go on from.

    Raises:
        Refused: state and tables contradict each other, or the tables contradict one another.
    """
    (tables, dead), mark = agreed(sink, dataset), journal.mark()
    # Dead letters of an earlier history stay when its tables were dropped; their epochs are not given again.
    beginning = Position(epoch=dead, offsets={}, clocks={}, horizon=-1)
    if mark == tables and (mark is None or fits(journal.layout(), dataset)):
        replayed = timelines.replay(dataset)
        if replayed:
            log.info("replayed the log", extra={"dataset": dataset.name, "changes": replayed})
        return tables or beginning
    if mark is not None and mark != tables and (tables is None or mark.epoch >= tables.epoch):
        raise Refused(
            f"'{dataset.name}': the state is at epoch {mark.epoch}, its tables at {_epoch_of(tables)}:"
            " they are not of one history",
            next_step=_ONE_HISTORY,
        )
    if tables is None:
        journal.clear()
        return beginning
    log.warning(
        "rebuilding the state from the tables", extra={"dataset": dataset.name, "epoch": tables.epoch}
    )
    journal.clear()
    reach("after-clearing")
    rebuild(sink, dataset, timelines, seed)
    journal.lay_out(layout_of(dataset))
    timelines.checkpoint()
    outgoing.send_again(sink, dataset.name, tables.epoch)
    reach("before-rebuilt-mark")
    journal.finish(tables, reported=True)
    reach("after-rebuilt-mark")
    return tables


def agreed(sink: LakeSink, dataset: DatasetSchema) -> tuple[Position | None, int]:
    """The position that all tables of the dataset have, and the last epoch of its dead letters."""
    positions = sink.positions(dataset)
    own = {t.identifier: positions.pop(t.identifier) for t in dataset.tables}
    dead = max((p.epoch for p in positions.values() if p is not None), default=0)
    newest = max((p for p in own.values() if p is not None), key=lambda p: p.epoch, default=None)
    if newest is None:
        _refuse_rows_of_unknown_origin(sink, dataset)
        return None, dead
    members = sink.members(dataset) | {dataset.parent.identifier}
    behind = [name for name, p in own.items() if (name in members if p is None else p != newest)]
    if behind:
        raise Refused(
            f"'{dataset.name}': {', '.join(behind)} is behind its other tables, which are at epoch"
            f" {newest.epoch}, and no intent is left to finish: it was rolled back or dropped, or the"
            " state lost",
            next_step="restore the state directory that was in use, or bring the tables back to one epoch",
        )
    if dead > newest.epoch:
        raise Refused(
            f"'{dataset.name}': there are dead letters of epoch {dead}, but its tables are at epoch"
            f" {newest.epoch}, and no intent is left to finish",
            next_step="restore the state directory that was in use, or roll the table of dead letters back",
        )
    return newest, dead


def _refuse_rows_of_unknown_origin(sink: LakeSink, dataset: DatasetSchema) -> None:
    """A new beginning would double the rows of tables whose positions have gone with their snapshots."""
    if found := sink.written(dataset):
        raise Refused(
            f"'{dataset.name}': {', '.join(found)} holds rows, but no snapshot is left that tells which"
            " records they came from: the newest one with a position was expired",
            next_step="restore the table's metadata from before the expiry (always keep the newest snapshot"
            " whose summary has bitlake.epoch), or give the dataset other tables and load everything again",
        )


def _epoch_of(position: Position | None) -> str:
    return "none" if position is None else f"epoch {position.epoch}"
