"""What the state backend holds of a dataset, and where.

One backend serves all datasets of a lake. Under a dataset's prefix lie: its *mark* (the epoch and position
that the state stands for), its *intent* (the epoch being committed), the *log* of changes since keys were
last written, by epoch and block, the *layout* that the bytes of log and keys have, and what was *reported*:
the progress of the last load whose caller was told that it is finished. *Keys*, each as
`pipeline.temporal.transfer` writes it, are in files beside the backend, which has the list of them.
"""

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from pipeline.sink.epoch import Position
from pipeline.sink.file_list import FileList
from pipeline.temporal.marks import marks_of
from state.base import LocalState, StateBackend, WriteBatch, prefix_end
from state.key_files import KeyFiles

_SEED, _OWNER = b"seed", b"owner"
_FOLDER = "keys"
_MARK, _INTENT, _LOG, _FILES, _REPORTED, _LAYOUT = b"m", b"i", b"l", b"f", b"r", b"y"


@dataclass(frozen=True)
class Intent:
    """An epoch on its way; `files` is None until all its data files are written."""

    position: Position
    files: FileList | None


class Journal:
    """What the state backend holds of one dataset."""

    def __init__(self, backend: LocalState, dataset: str) -> None:
        self._backend, self._dataset = backend, dataset
        self._prefix = b"d/" + dataset.encode() + b"\0"
        self._laid_out: list[Any] | None = None

    @staticmethod
    def seed(backend: StateBackend) -> int:
        """The seed of this state's hashes, made when the state is."""
        stored = backend.get_many([_SEED])[0]
        if stored is None:
            stored = secrets.token_bytes(8)
            batch = WriteBatch()
            batch.put(_SEED, stored)
            backend.write(batch, durable=True)
        return int.from_bytes(stored, "little")

    @staticmethod
    def owner(backend: StateBackend) -> str:
        """What tells this state's writer from others, made when it is first asked for."""
        stored = backend.get_many([_OWNER])[0]
        if stored is None:
            stored = secrets.token_hex(8).encode()
            batch = WriteBatch()
            batch.put(_OWNER, stored)
            backend.write(batch, durable=True)
        return stored.decode()

    def mark(self) -> Position | None:
        """The position that the state stands for."""
        stored = self._backend.get_many([self._prefix + _MARK])[0]
        return None if stored is None else Position.from_summary(json.loads(stored))

    def intent(self) -> Intent | None:
        """The epoch that was being committed when the last process stopped."""
        stored = self._backend.get_many([self._prefix + _INTENT])[0]
        if stored is None:
            return None
        content = json.loads(stored)
        files = FileList.from_json(content["files"]) if content["files"] else None
        return Intent(Position.from_summary(content["position"]), files)

    def begin(self, position: Position) -> None:
        """Step 1: write down that an epoch is being committed."""
        self._put_intent(WriteBatch(), Intent(position, None))

    def put_intent(self, intent: Intent) -> None:
        """Write down an intent in the place of the one there is."""
        self._put_intent(WriteBatch(), intent)

    def record_files(self, files: FileList, log: Sequence[bytes], layout: list[Any]) -> None:
        """Step 2: write down the epoch's data files, with the changes that made them and their layout."""
        batch = WriteBatch()
        self._put_layout(batch, layout)
        prefix = self._log_prefix(files.position.epoch)
        batch.put_many([prefix + i.to_bytes(4) for i in range(len(log))], log)
        self._put_intent(batch, Intent(files.position, files))

    def finish(self, position: Position, *, reported: bool = False) -> None:
        """Step 4: the epoch is in every table; the state stands for it.

        Args:
            position: where the epoch ends.
            reported: take the load that ended there as one whose caller knows.
        """
        batch = WriteBatch()
        batch.put(self._prefix + _MARK, _position_text(position))
        if reported:
            batch.put(self._prefix + _REPORTED, json.dumps(position.progress).encode())
        batch.delete(self._prefix + _INTENT)
        self._backend.write(batch, durable=True)

    def layout(self) -> list[Any] | None:
        """The layout of the log and the keys (see `pipeline.engine.layout`)."""
        stored = self._backend.get_many([self._prefix + _LAYOUT])[0]
        found: list[Any] | None = None if stored is None else json.loads(stored)
        return found

    def lay_out(self, layout: list[Any]) -> None:
        """Write down the layout that keys are about to be written in."""
        batch = WriteBatch()
        self._put_layout(batch, layout)
        self._backend.write(batch, durable=True)

    def abandon(self, intent: Intent) -> None:
        """Forget an epoch that was never committed."""
        batch = WriteBatch()
        batch.delete(self._prefix + _INTENT)
        self._delete_prefix(batch, self._log_prefix(intent.position.epoch))
        self._backend.write(batch, durable=True)

    def report(self, progress: dict[str, Any]) -> None:
        """Write down that a load's caller is told of its end: the same files are new records from now on."""
        batch = WriteBatch()
        batch.put(self._prefix + _REPORTED, json.dumps(progress).encode())
        self._backend.write(batch, durable=True)

    def reported(self) -> dict[str, Any]:
        """The progress of the last load whose caller was told of its end."""
        stored = self._backend.get_many([self._prefix + _REPORTED])[0]
        found: dict[str, Any] = {} if stored is None else json.loads(stored)
        return found

    def log(self) -> Iterator[bytes]:
        """The logged changes in order."""
        return (value for _, value in self._backend.scan(self._prefix + _LOG))

    @cached_property
    def files(self) -> KeyFiles:
        """The keys."""
        stored = self._backend.get_many([self._prefix + _FILES])[0]
        folder = self._backend.folder / _FOLDER / quote(self._dataset, safe="")
        return KeyFiles(folder, None if stored is None else json.loads(stored))

    def leave_keys(self, before: int) -> int:
        """Leave keys to the tables whose LAST is before; how many. The log must be empty."""
        left = self.files.leave(before, marks_of)
        self.drop_log(None)
        return left

    def drop_log(self, through: int | None) -> None:
        """Have the files of keys stand for all that the log says up to an epoch (None: all it says)."""
        batch, written = WriteBatch(), self.files.flush()
        batch.put(self._prefix + _FILES, json.dumps(written).encode())
        if through is None:
            self._delete_prefix(batch, self._prefix + _LOG)
        else:
            batch.delete_range(self._prefix + _LOG, self._log_prefix(through + 1))
        self._backend.write(batch, durable=True)
        self.files.settle(written)

    def clear(self) -> None:
        """Forget everything of the dataset: the tables are the truth."""
        batch = WriteBatch()
        self._laid_out = None
        self._delete_prefix(batch, self._prefix)
        self._backend.write(batch, durable=True)
        self.files.clear()

    def close(self) -> None:
        """Close the files of keys, if they are open."""
        if "files" in self.__dict__:
            self.files.close()

    def _log_prefix(self, epoch: int) -> bytes:
        return self._prefix + _LOG + epoch.to_bytes(8)

    def _put_layout(self, batch: WriteBatch, layout: list[Any]) -> None:
        if layout != self._laid_out:
            batch.put(self._prefix + _LAYOUT, json.dumps(layout).encode())
            self._laid_out = layout

    def _put_intent(self, batch: WriteBatch, intent: Intent) -> None:
        files = None if intent.files is None else intent.files.to_json()
        content = {"position": json.loads(_position_text(intent.position)), "files": files}
        batch.put(self._prefix + _INTENT, json.dumps(content).encode())
        self._backend.write(batch, durable=True)

    def _delete_prefix(self, batch: WriteBatch, prefix: bytes) -> None:
        end = prefix_end(prefix)
        if end is not None:
            batch.delete_range(prefix, end)


def _position_text(position: Position) -> bytes:
    return json.dumps(position.to_summary("")).encode()
