"""`bitlake relocate`: the tables and the state of a lake name the files that are here."""

from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import cast

from pyiceberg.catalog.sql import SqlCatalog

from pipeline.config import LakeConfig
from pipeline.engine.journal import Intent, Journal
from pipeline.engine.waiting import waiting
from pipeline.errors import Refused
from pipeline.places import is_local, local_path
from pipeline.sink.catalog import explained, open_catalog
from pipeline.sink.relocation import Move, Relocated, Relocation
from state import LocalState, open_state


def relocate(lake: LakeConfig, *, wait: timedelta | None = None) -> list[Relocated]:
    """Have a moved or copied lake's tables, and epochs that were being committed, name the files here.

    Returns:
        The tables that were elsewhere; none: the lake is where its tables say.

    Raises:
        BadConfiguration: the lake's warehouse is no folder of this machine.
        Refused: files are missing here, or the catalog may be that of the lake that was copied.
        StateLocked: another process writes to the lake.
    """
    with closing(open_state(lake.state, None, waiting(wait))) as backend:
        catalog = cast(SqlCatalog, open_catalog(lake.catalog))
        with explained(str(lake.catalog.get("uri", ""))):
            relocation = Relocation(catalog)
            intents = _intents(lake, backend, relocation.moves)
            return relocation.run(lambda: _put(intents))


def _intents(lake: LakeConfig, backend: LocalState, moves: list[Move]) -> list[tuple[Journal, Intent]]:
    """Epochs whose files were written and perhaps not committed, with the paths that they have here."""
    found = []
    for dataset in lake.datasets:
        journal = Journal(backend, dataset.name)
        intent = journal.intent()
        if intent is None or intent.files is None:
            continue
        files = intent.files
        for move in moves:
            files = files.moved(move)
        for path in files.paths:
            if is_local(path) and not Path(local_path(path)).exists():
                raise Refused(
                    f"'{dataset.name}': epoch {files.position.epoch} was being committed when the lake was"
                    f" copied, and its file {path} is missing here",
                    next_step="copy the lake again while nothing writes to it; or move the state directory"
                    " away: it is rebuilt from the tables, and what was being loaded is loaded again",
                )
        found.append((journal, Intent(intent.position, files)))
    return found


def _put(intents: list[tuple[Journal, Intent]]) -> None:
    for journal, intent in intents:
        journal.put_intent(intent)
