"""The Iceberg side: tables, data files, and the commit of each epoch, once."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.sink.catalog import open_catalog
    from pipeline.sink.dead_letter_table import DEAD_LETTERS
    from pipeline.sink.epoch import Epoch, Position, TableRows
    from pipeline.sink.file_list import FileList
    from pipeline.sink.lake_sink import LakeSink

__all__ = ["DEAD_LETTERS", "Epoch", "FileList", "LakeSink", "Position", "TableRows", "open_catalog"]

_HOMES = {
    "DEAD_LETTERS": "dead_letter_table",
    "Epoch": "epoch",
    "FileList": "file_list",
    "LakeSink": "lake_sink",
    "Position": "epoch",
    "TableRows": "epoch",
    "open_catalog": "catalog",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: questions need none of Iceberg's library, which takes a second to import."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
