"""What a broker's listener says to credentials."""

import socket
import threading
from collections.abc import Sequence

import pytest
from kafka.protocol.metadata import ApiVersionsResponse
from kafka.protocol.sasl import SaslHandshakeResponse

from pipeline.errors import BadConfiguration
from pipeline.source.kafka.connection import Connection
from pipeline.source.kafka.properties import client_settings

UNSUPPORTED_MECHANISM, ILLEGAL_STATE = 33, 34
LOGIN = {
    "bootstrap.servers": "localhost:9092",
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "PLAIN",
    "sasl.username": "user",
    "sasl.password": "password",
}


def listener(error: int, mechanisms: Sequence[str]) -> int:
    """The port of a listener that tells its versions, and refuses to begin SASL."""
    api = ApiVersionsResponse.ApiVersion
    answers = [
        ApiVersionsResponse(
            version=3, error_code=0, api_keys=[api(api_key=17, min_version=0, max_version=1)]
        ),
        SaslHandshakeResponse(version=1, error_code=error, mechanisms=list(mechanisms)),
    ]
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server, server.accept()[0] as client:
            for correlation, answer in enumerate(answers, 1):
                size = int.from_bytes(client.recv(4, socket.MSG_WAITALL))
                client.recv(size, socket.MSG_WAITALL)
                answer.with_header(correlation_id=correlation)
                client.sendall(answer.encode(framed=True, header=True))

    threading.Thread(target=serve).start()
    return int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("error", "mechanisms", "message", "next_step"),
    [
        (UNSUPPORTED_MECHANISM, ["SCRAM-SHA-256", "OAUTHBEARER"], "does not take PLAIN", "SCRAM-SHA-256, OAUTHB"),
        (ILLEGAL_STATE, [], "has no SASL", "security.protocol"),
    ],
)  # fmt: skip
def test_a_listener_without_our_sasl_is_told(error, mechanisms, message, next_step):
    with pytest.raises(BadConfiguration) as refused:
        Connection(client_settings(LOGIN), "127.0.0.1", listener(error, mechanisms))
    assert message in refused.value.message
    assert next_step in refused.value.next_step
