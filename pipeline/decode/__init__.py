"""JSON records to arrays of changes: no Python object per record."""

from pipeline.decode.batch import Batch
from pipeline.decode.decoder import NEVER_AHEAD, Decoder
from pipeline.decode.options import DecodeOptions

__all__ = ["NEVER_AHEAD", "Batch", "DecodeOptions", "Decoder"]
