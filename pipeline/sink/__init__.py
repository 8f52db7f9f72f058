"""The Iceberg side: tables, data files, and the commit of each epoch, once."""

from pipeline.sink.catalog import open_catalog
from pipeline.sink.dead_letter_table import DEAD_LETTERS
from pipeline.sink.epoch import Epoch, Position, TableRows
from pipeline.sink.file_list import FileList
from pipeline.sink.lake_sink import LakeSink

__all__ = ["DEAD_LETTERS", "Epoch", "FileList", "LakeSink", "Position", "TableRows", "open_catalog"]
