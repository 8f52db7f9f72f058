"""The REST catalog, with an end to waiting for it."""

from typing import Any

from pyiceberg.catalog.rest import RestCatalog
from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
"""A commit that takes longer is looked for in the table before it is tried again."""


class TimedRestCatalog(RestCatalog):
    """pyiceberg's, which by itself waits for ever on a server that has stalled."""

    def _config_headers(self, session: Session) -> None:
        # The first step of every session made, before its first request, which is for a token.
        super()._config_headers(session)
        for scheme in ("http://", "https://"):
            session.mount(scheme, _TimedAdapter())


class _TimedAdapter(HTTPAdapter):
    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        kwargs["timeout"] = kwargs.get("timeout") or (CONNECT_SECONDS, ANSWER_SECONDS)
        return super().send(request, *args, **kwargs)
