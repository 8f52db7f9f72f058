"""Where timelines are kept between epochs: a small ordered key-value store with atomic batches."""

from state.base import LocalState, StateBackend, StateSize, WriteBatch
from state.errors import StateDamaged, StateLocked, StateUnavailable
from state.key_files import KeyFiles
from state.memory import MemoryState
from state.rocks import RocksOptions, RocksState, open_state
from state.waiting import Waiting

__all__ = [
    "KeyFiles",
    "LocalState",
    "MemoryState",
    "RocksOptions",
    "RocksState",
    "StateBackend",
    "StateDamaged",
    "StateLocked",
    "StateSize",
    "StateUnavailable",
    "Waiting",
    "WriteBatch",
    "open_state",
]
