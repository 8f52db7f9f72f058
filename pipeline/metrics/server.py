"""The port on which a process tells how it is: /metrics, /healthz, /readyz."""

import dataclasses
import json
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import make_wsgi_app

from pipeline.errors import BadConfiguration
from pipeline.metrics.metrics import Metrics

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class App:
    """The answers, as a WSGI application.

    /healthz answers 503 once a dataset has failed: the process should be started again. /readyz answers 503
    unless every dataset's topic was reached, what it reads is committed in time, and its servers answer.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics, self._exposed = metrics, make_wsgi_app(metrics.registry)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        match environ.get("PATH_INFO"):
            case "/metrics":
                return self._exposed(environ, start_response)
            case "/healthz":
                found = self._metrics.health()
                fine, told = {name: h.state != "failed" for name, h in found.items()}, found
            case "/readyz":
                found = self._metrics.health()
                fine, told = {name: h.ready(self._metrics.limit) for name, h in found.items()}, found
            case _:
                start_response("404 Not Found", [("Content-Type", "text/plain")])
                return [b"there are /metrics, /healthz and /readyz\n"]
        datasets = {name: {"ok": fine[name], **dataclasses.asdict(health)} for name, health in told.items()}
        body = json.dumps({"ok": all(fine.values()), "datasets": datasets}).encode() + b"\n"
        status = "200 OK" if all(fine.values()) else "503 Service Unavailable"
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]


@contextmanager
def serve(metrics: Metrics, host: str, port: int) -> Iterator[int]:
    """Answer on a port while the context lasts; gives the port, which the system chooses for 0.

    Raises:
        BadConfiguration: the port can't be had.
    """
    try:
        server = (_SixServer if ":" in host else _Server)((host, port), _Handler)
    except OSError as error:
        raise BadConfiguration(
            f"metrics can't be served on {host}:{port}: {error.strerror}",
            next_step="choose another --metrics-port, or stop what has this one",
        ) from error
    server.set_app(App(metrics))
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # WSGIServer's own asks the name service for the host's name, which may take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _SixServer(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class has it
        """Requests are not logged."""

    def address_string(self) -> str:
        return str(self.client_address[0])
