"""Compiling what a job needs beside what a load does: ``python -m pipeline.flink.warm``, once installed.

Else each TaskManager compiles it while its first checkpoints wait.
"""

import numpy as np

from pipeline.engine.changes import changes_of
from pipeline.engine.warm import no_records
from pipeline.flink.change_frames import split
from pipeline.flink.frames import records_of

_RECORD = (33).to_bytes(4) + bytes(21) + b"\xff" * 8 + bytes(4)
"""A raw record without key, value and headers."""


def warm() -> None:
    """Compile the kernels of frames, into the cache."""
    records_of(_RECORD + bytes(64), "warm", 0)
    batch, none = no_records(), np.zeros(0, np.int64)
    split(batch, changes_of(batch, none, none), 0, np.arange(2))


if __name__ == "__main__":
    warm()
