"""What every server has: a folder, ports, a command, a question that tells whether it is healthy."""

import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pipeline.errors import Unavailable
from stack import processes
from stack.processes import Command, Identity

HOST = "127.0.0.1"


class Server(ABC):
    """One process, on the same ports and with the same data whenever it runs.

    Attributes:
        kind: what it is.
        own_ports: the names of the ports it listens on.
        memory: what it was given, of those whose memory can be chosen.
    """

    kind: ClassVar[str]
    own_ports: ClassVar[tuple[str, ...]]
    startup_seconds: ClassVar[float] = 180
    stop_seconds: ClassVar[float] = 20
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, name: str, folder: Path, ports: Mapping[str, int]) -> None:
        self.name = name
        self.folder = folder.absolute()
        self.ports = dict(ports)
        self.memory = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._identity: Identity | None = None

    @classmethod
    @abstractmethod
    def fetch(cls) -> None:
        """Bring what it is made of into the cache."""

    @abstractmethod
    def prepare(self) -> None:
        """Write its configuration, and its empty data if there is none."""

    @abstractmethod
    def command(self) -> Command:
        """How it is started."""

    @abstractmethod
    def healthy(self) -> bool:
        """Whether it answers as it should."""

    @abstractmethod
    def addresses(self) -> dict[str, str]:
        """Where clients find it, by what they want there."""

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.folder / "log"

    @property
    def identity(self) -> Identity | None:
        """Its process, as long as that runs."""
        return self._identity if self.running else None

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; `wait` tells when it can be used."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.prepare()
        self._process = processes.start(self.command(), self.folder, self.log)
        self._identity = processes.identity(self._process.pid)

    def wait(self) -> None:
        """Wait until it is healthy.

        Raises:
            Unavailable: it ended, or did not get so far in `startup_seconds`.
        """
        end = time.monotonic() + self.startup_seconds
        while not (self.running and self.healthy()):
            if not self.running:
                raise Unavailable(f"{self.name} has ended: {self.last_words()}", next_step=self._see_log())
            if time.monotonic() > end:
                raise Unavailable(
                    f"{self.name} was not ready in {self.startup_seconds:.0f} s: {self.last_words()}",
                    next_step=self._see_log(),
                )
            time.sleep(0.05)

    def stop(self, how: signal.Signals | None = None) -> None:
        """End it, and all that it started, and wait until they are gone; SIGKILL is a crash."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how or self.stop_signal)
        try:
            process.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        processes.sweep(self.folder)

    def last_words(self, characters: int = 1500) -> str:
        """The end of its log."""
        if not self.log.exists():
            return "(no log)"
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - characters))
            return log.read().decode(errors="replace").strip()

    def _see_log(self) -> str:
        return f"Its log is {self.log}."
