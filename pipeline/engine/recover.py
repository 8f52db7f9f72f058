"""Opening a dataset: an epoch left half done is finished or forgotten, and state and tables must agree."""

import logging

from pipeline.engine.journal import Journal
from pipeline.engine.rebuild import rebuild
from pipeline.engine.timelines import Timelines
from pipeline.errors import Refused
from pipeline.schema import DatasetSchema
from pipeline.sink.epoch import Position
from pipeline.sink.lake_sink import LakeSink

log = logging.getLogger(__name__)

BEGINNING = Position(epoch=0, offsets={}, clocks={}, horizon=-1)


def settle(sink: LakeSink, journal: Journal, dataset: DatasetSchema) -> None:
    """Finish the epoch whose files were all written; forget one whose files were not."""
    intent = journal.intent()
    if intent is None:
        return
    if intent.files is None:
        log.info("forgetting an unwritten epoch", extra={"dataset": dataset.name, "epoch": intent.position.epoch})
        journal.abandon(intent)
        return
    log.info("finishing an epoch", extra={"dataset": dataset.name, "epoch": intent.position.epoch})
    sink.commit(intent.files)
    journal.finish(intent.position)


def restore(
    sink: LakeSink, journal: Journal, dataset: DatasetSchema, timelines: Timelines, seed: int
) -> Position:
    """Bring the timelines to where the tables are; the position to go on from.

    Raises:
        Refused: state and tables contradict each other, or the tables contradict one another.
    """
    tables, mark = _agreed(sink, dataset), journal.mark()
    if mark == tables:
        replayed = timelines.replay(dataset)
        if replayed:
            log.info("replayed the log", extra={"dataset": dataset.name, "changes": replayed})
        return tables or BEGINNING
    if mark is not None and (tables is None or mark.epoch >= tables.epoch):
        raise Refused(
            f"'{dataset.name}': the state is at epoch {mark.epoch}, its tables at"
            f" {tables.epoch if tables else 'none'}: they are not of one history",
            next_step="restore the tables or the catalog that belong to this state, or move the state directory"
            " away to go on from the tables",
        )
    if tables is None:
        journal.clear()
        return BEGINNING
    log.warning("rebuilding the state from the tables", extra={"dataset": dataset.name, "epoch": tables.epoch})
    journal.clear()
    rebuild(sink, dataset, timelines, seed)
    timelines.checkpoint()
    journal.finish(tables)
    return tables


def _agreed(sink: LakeSink, dataset: DatasetSchema) -> Position | None:
    """The position that all tables of the dataset have."""
    positions = sink.positions(dataset)
    own = {t.identifier: positions[t.identifier] for t in dataset.tables}
    newest = max((p for p in own.values() if p is not None), key=lambda p: p.epoch, default=None)
    behind = [name for name, p in own.items() if p != newest and p is not None]
    if newest is not None and (own[dataset.parent.identifier] is None or behind):
        raise Refused(
            f"'{dataset.name}': {', '.join(behind) or dataset.parent.identifier} is behind its other tables,"
            f" which are at epoch {newest.epoch}, and no intent is left to finish",
            next_step="restore the state directory that was in use, or roll the tables back to one epoch",
        )
    return newest
