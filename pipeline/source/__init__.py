"""Where records come from: blocks of bytes and the lines in them."""

from pipeline.source.block import Block
from pipeline.source.files import FileIdentity, FileSource
from pipeline.source.lines import LineSource

__all__ = ["Block", "FileIdentity", "FileSource", "LineSource"]
