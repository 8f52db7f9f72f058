"""A client of Trino: its protocol is a few HTTP requests (Trino's documentation, "Client REST API")."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from pipeline.errors import BadInput, Unavailable

_BUSY = (502, 503, 504)
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """What a statement gave.

    Attributes:
        columns: names with Trino's types.
        rows: values as JSON has them: times, decimals and UUIDs as text, binary as base64.
    """

    columns: tuple[tuple[str, str], ...]
    rows: list[list[Any]]

    def objects(self) -> list[dict[str, Any]]:
        """The rows by column."""
        names = [name for name, _ in self.columns]
        return [dict(zip(names, row, strict=True)) for row in self.rows]


class TrinoClient:
    """Runs statements.

    Args:
        address: the coordinator's, ``http://host:port``.
        user: as whom.
        password: over https.
    """

    def __init__(self, address: str, user: str = "bitlake", password: str | None = None) -> None:
        self._address = address.rstrip("/")
        if not self._address.startswith(("http://", "https://")) or "@" in self._address:
            raise BadInput(
                "an address of Trino is http://HOST:PORT, or https://",
                next_step="the user is given by --user, the password in BITLAKE_TRINO_PASSWORD",
            )
        if password is not None and not self._address.startswith("https:"):
            raise BadInput(
                f"a password is not sent to {address}", next_step="give an address that begins with https:"
            )
        self._session = requests.Session()
        self._session.headers.update({"X-Trino-User": user, "X-Trino-Source": "bitlake"})
        # Without this, times are cut to milliseconds.
        self._session.headers["X-Trino-Client-Capabilities"] = "PARAMETRIC_DATETIME"
        self._session.auth = None if password is None else (user, password)

    def ask(self, statement: str) -> Answer:
        """Run a statement to its end.

        Raises:
            Unavailable: Trino does not answer.
            BadInput: it refuses the statement.
        """
        columns: tuple[tuple[str, str], ...] = ()
        rows: list[list[Any]] = []
        for page in self._pages(statement):
            columns = columns or tuple((one["name"], one["type"]) for one in page.get("columns", ()))
            rows += page.get("data", ())
        return Answer(columns, rows)

    def _pages(self, statement: str) -> Iterator[dict[str, Any]]:
        page = self._request("POST", f"{self._address}/v1/statement", statement)
        while True:
            if "error" in page:
                told = page["error"]
                raise BadInput(
                    f"Trino refuses a statement: {told['message']} ({told['errorName']})",
                    next_step=statement.strip().splitlines()[0][:200],
                )
            yield page
            if "nextUri" not in page:
                return
            page = self._request("GET", page["nextUri"])

    def _request(self, method: str, address: str, body: str | None = None) -> dict[str, Any]:
        retrying = Retrying(
            retry=retry_if_result(lambda answer: answer.status_code in _BUSY),
            stop=stop_after_delay(_PATIENCE_SECONDS),
            wait=wait_fixed(0.1),
        )
        data = None if body is None else body.encode()
        try:
            answer = retrying(self._session.request, method, address, data=data, timeout=120)
            answer.raise_for_status()
            return dict(answer.json())
        except (requests.RequestException, RetryError) as error:
            raise Unavailable(
                f"Trino does not answer at {self._address}: {error}",
                next_step="check the address, and the user and password that Trino wants",
            ) from error
