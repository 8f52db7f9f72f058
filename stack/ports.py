"""Free ports of this machine, the same ones again where they are still free."""

import fcntl
import json
import os
import random
import socket
from collections.abc import Iterable
from pathlib import Path

from stack.downloads import cached
from stack.server import HOST

_FIRST, _LAST = 20_000, 32_000
"""Below what Linux gives to outgoing connections: those can't take a port before its server does."""
_claimed: set[int] = set()
"""Ports of this process: a locked file each, so that stacks that start at once don't take the same."""


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on at this moment, and that are not another stack's."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(_FIRST, _LAST)  # noqa: S311
        if port not in _claimed and _claim(port):
            found.append(port)
    return found


def _claim(port: int) -> bool:
    """Whether a port is ours from now on, as long as this process lives."""
    if port not in _claimed:
        folder = cached() / "ports"
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / str(port), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        _claimed.add(port)
    return _is_free(port)


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((HOST, port))
        except OSError:
            return False
    return True


class Ports:
    """The ports of a stack's servers, kept in a file: a stack that starts again has those of before."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, dict[str, int]] = json.loads(file.read_text()) if file.exists() else {}

    def of(self, server: str, names: Iterable[str], *, runs: bool = False) -> dict[str, int]:
        """A server's ports by name; one that another program took meanwhile is replaced, unless it `runs`."""
        known = self._known.setdefault(server, {})
        for name in names:
            if name not in known or not (runs or _claim(known[name])):
                known[name] = free_ports(1)[0]
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self._known, indent=1))
        return {name: known[name] for name in names}
