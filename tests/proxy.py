"""A TCP proxy for tests that stalls, drops and cuts off: what networks do to a server's clients.

with Proxy(("127.0.0.1", 8181)) as proxy:
    proxy.lose_answers(b"POST /v1/")    # the next such request is done, its answer never comes
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

CHUNK = 1 << 16
Address = tuple[str, int]


class Proxy:
    """Forwards connections to a server, a thread for each direction.

    Args:
        target: the server's address.

    Attributes:
        address: where clients connect.
        lost: how many answers were lost.
    """

    def __init__(self, target: Address) -> None:
        self._target, self.lost = target, 0
        self._lock, self._open = threading.Lock(), set[socket.socket]()
        self._marks: list[bytes] = []
        self._stall_at = b""
        self._away, self._refusals, self._flowing = False, 0, threading.Event()
        self._flowing.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        host, port = self._listener.getsockname()
        self.address: Address = (host, port)
        self._threads = [self._start(self._accept)]

    @property
    def url(self) -> str:
        """Where HTTP clients connect."""
        return f"http://{self.address[0]}:{self.address[1]}"

    def lose_answers(self, *marks: bytes) -> None:
        """Per mark: the next request that holds it reaches the server, its answer gets lost on the way back."""
        with self._lock:
            self._marks += marks

    def go_away(self, connections: int | None = None) -> None:
        """Cut every connection, and then each new one at once: so many, or until `come_back`."""
        self._away, self._refusals = connections is None, connections or 0
        self._cut()

    def come_back(self) -> None:
        """Serve again."""
        self._away = False

    def stall(self) -> None:
        """Forward nothing more, in either direction, and leave connections open."""
        self._flowing.clear()

    def stall_at(self, mark: bytes) -> None:
        """Stall when something comes that holds a mark: that is what is held back first."""
        self._stall_at = mark

    @property
    def stalled(self) -> bool:
        """Whether nothing is forwarded."""
        return not self._flowing.is_set()

    def flow(self) -> None:
        """Forward again, what was held back first."""
        self._stall_at = b""
        self._flowing.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._away = True
        self._flowing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut()
        for thread in self._threads:
            thread.join(10)

    def _start(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, name="proxy", daemon=True)
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self._away or self._refusals:
                    self._refusals = max(0, self._refusals - 1)
                    raise ConnectionRefusedError
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            connection = _Connection(client, server)
            self._threads.append(self._start(self._requests, connection))
            self._threads.append(self._start(self._answers, connection))

    def _requests(self, connection: "_Connection") -> None:
        def forward(data: bytes) -> None:
            with self._lock:
                for mark in [mark for mark in self._marks if mark in data]:
                    self._marks.remove(mark)
                    connection.losing = True
            connection.server.sendall(data)

        self._pump(connection, connection.client, forward)

    def _answers(self, connection: "_Connection") -> None:
        def forward(data: bytes) -> None:
            if connection.losing:
                self.lost += 1
                raise ConnectionAbortedError
            connection.client.sendall(data)

        self._pump(connection, connection.server, forward)

    def _pump(
        self, connection: "_Connection", source: socket.socket, forward: Callable[[bytes], None]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if self._stall_at and self._stall_at in data:
                    self._stall_at = b""
                    self.stall()
                self._flowing.wait()
                forward(data)
        self._end(connection)

    def _end(self, connection: "_Connection") -> None:
        for one in (connection.client, connection.server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
            with self._lock:
                self._open.discard(one)

    def _cut(self) -> None:
        with self._lock:
            cut = list(self._open)
        for one in cut:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class _Connection:
    """A client and its server.

    Attributes:
        losing: the server's next answer is to get lost.
    """

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server, self.losing = client, server, False
