"""Trino's protocol, spoken to a server that plays a part."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pipeline.errors import BadInput, Unavailable
from pipeline.views.trino_client import TrinoClient


class Part(BaseHTTPRequestHandler):
    """Answers as it is told, and keeps what it was asked."""

    answers: list[tuple[int, dict[str, Any]]]
    asked: list[tuple[str, str, dict[str, str]]]

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.asked.append((f"{self.command} {self.path}", body, dict(self.headers)))
        status, page = self.answers.pop(0)
        if "nextUri" in page:
            page = page | {"nextUri": f"http://{self.headers['Host']}{page['nextUri']}"}
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(page).encode())

    do_GET = do_POST = _answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Part.answers, Part.asked = [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), Part) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def client(server: ThreadingHTTPServer) -> TrinoClient:
    return TrinoClient(f"http://127.0.0.1:{server.server_port}/", "me")


def test_pages_are_followed_and_a_busy_server_is_asked_again(client: TrinoClient) -> None:
    columns = [{"name": "n", "type": "bigint"}]
    Part.answers = [
        (200, {"nextUri": "/1"}),
        (503, {}),
        (200, {"columns": columns, "data": [[1], [2]], "nextUri": "/2"}),
        (200, {"columns": columns, "data": [[3]]}),
    ]
    answer = client.ask("SELECT 'ö'")
    assert (answer.columns, answer.rows) == ((("n", "bigint"),), [[1], [2], [3]])
    assert answer.objects()[2] == {"n": 3}
    assert [line for line, _, _ in Part.asked] == ["POST /v1/statement", "GET /1", "GET /1", "GET /2"]
    _, body, headers = Part.asked[0]
    assert body == "SELECT 'ö'"
    assert (headers["X-Trino-User"], headers["X-Trino-Client-Capabilities"]) == ("me", "PARAMETRIC_DATETIME")


def test_what_is_refused_is_told_with_the_statement(client: TrinoClient) -> None:
    error = {"message": "line 1:8: no such thing", "errorName": "COLUMN_NOT_FOUND"}
    Part.answers = [(200, {"nextUri": "/1"}), (200, {"error": error})]
    with pytest.raises(BadInput, match="no such thing") as told:
        client.ask("SELECT x")
    assert told.value.next_step == "SELECT x"


def test_who_may_not_is_told(client: TrinoClient) -> None:
    Part.answers = [(401, {})]
    with pytest.raises(Unavailable, match="401"):
        client.ask("SELECT 1")


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        TrinoClient("http://127.0.0.1:1").ask("SELECT 1")


def test_a_password_goes_by_https_only() -> None:
    with pytest.raises(BadInput, match="password"):
        TrinoClient("http://trino", "me", "secret")
    TrinoClient("https://trino", "me", "secret")
