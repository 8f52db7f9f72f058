"""The demo's directory: its lake.yaml, its records, and whether it is finished."""

import shutil
from importlib.resources import files
from pathlib import Path

from pipeline.demo.rates import write_rates
from pipeline.errors import BadInput

STREAMS = ("bonds", "actions", "reports")
DATASETS = ("rates", *STREAMS)
_MARK = "# The lake of `bitlake demo`."


class Place:
    """A directory that belongs to the demo."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "lake.yaml"
        self.picture = directory / "bond.png"
        self._done = directory / ".bitlake" / "demo.done"

    @property
    def finished(self) -> bool:
        """An earlier demo has loaded everything here."""
        return self._done.exists() and self._ours()

    def file(self, dataset: str) -> Path:
        """Where a dataset's records are."""
        return self.directory / "records" / f"{dataset}.jsonl"

    def prepare(self) -> None:
        """Make the directory anew: lake.yaml and the records, nothing loaded.

        Raises:
            BadInput: the directory has something in it that the demo did not put there.
        """
        if self.directory.exists() and any(self.directory.iterdir()):
            self._clear()
        self.file("rates").parent.mkdir(parents=True)
        data = files(__package__).joinpath("data")
        for name in STREAMS:
            self.file(name).write_bytes(data.joinpath(f"{name}.jsonl").read_bytes())
        write_rates(self.file("rates"))
        self.config.write_bytes(data.joinpath("lake.yaml").read_bytes())

    def finish(self) -> None:
        """Remember that everything is loaded."""
        self._done.write_text("loaded\n")

    def _ours(self) -> bool:
        return self.config.is_file() and self.config.read_text(encoding="utf-8").startswith(_MARK)

    def _clear(self) -> None:
        if not self._ours():
            raise BadInput(
                f"{self.directory} is not empty and is not a demo's directory",
                next_step="name another: bitlake demo DIRECTORY",
            )
        for path in (self.directory / ".bitlake", self.directory / "records"):
            shutil.rmtree(path, ignore_errors=True)
        self.picture.unlink(missing_ok=True)
