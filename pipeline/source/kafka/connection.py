"""A connection to a broker: one request at a time may be under way, and a fetch's answer stays bytes.

Messages and authentication are kafka-python's; the socket is ours, and receives megabytes where they stay.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from kafka.errors import KafkaError, for_code
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.frame import KafkaBytes
from kafka.protocol.metadata import ApiVersionsRequest
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

from pipeline.errors import BadConfiguration
from pipeline.source.block import PADDING
from pipeline.source.kafka.block import Bytes
from pipeline.source.kafka.properties import ClientSettings

_UNSUPPORTED_VERSION = 35
_GREETING = 1 << 20
_ANSWER = 256 << 20
_FRAME = 2**31 - 1
_API_VERSIONS = 3
_SESSION = 0.85


class ConnectionLost(Exception):
    """The broker can't be reached, or no longer: to be tried again."""


class Connection:
    """An open, authenticated connection.

    Args:
        context: for TLS; None without.

    Raises:
        ConnectionLost: it can't be reached.
        BadConfiguration: it does not take our credentials, or we not its certificate.
    """

    def __init__(
        self, settings: ClientSettings, host: str, port: int, context: ssl.SSLContext | None = None
    ) -> None:
        self.settings = settings
        self.name = f"{host}:{port}"
        self.expires = float("inf")
        self._host = host
        self._correlation = 0
        self._versions: dict[int, tuple[int, int]] = {}
        self._closed = False
        self._socket = self._connected(host, port, context)
        try:
            self._versions = self._ask_versions()
            if settings.sasl:
                self._authenticate()
        except BaseException:
            self.close()
            raise

    def version(self, request: Any, most: int = 2**15) -> int:
        """The newest version of a request that both sides know, and we handle.

        Raises:
            BadConfiguration: there is none.
        """
        least, newest = self._versions.get(request.API_KEY, (0, -1))
        version = min(newest, request.max_version, most)
        if version < least:
            raise BadConfiguration(
                f"the Kafka broker {self.name} has no version of {request.name} in common with bitlake",
                next_step="use a broker of Kafka 0.11 or newer, or a newer bitlake",
            )
        return version

    def ask(self, request: Any, *, most: int = 2**15) -> Any:
        """Send a request and wait for its answer.

        Raises:
            ConnectionLost: it did not come.
        """
        if request.API_VERSION is None:
            request.API_VERSION = self.version(request, most)
        self.send(request)
        kind = request.header.get_response_class()
        frame = KafkaBytes(0)
        frame += self.receive(_ANSWER)[:-PADDING].tobytes()
        try:
            kind.parse_header(frame)
            return kind.decode(frame)
        except (ValueError, IndexError, KafkaError) as error:
            self.close()
            raise ConnectionLost(f"{self.name} gave an answer that can't be read: {error}") from error

    def send(self, request: Any) -> None:
        """Send a request whose version is set; its answer is to be received."""
        self._correlation = (self._correlation + 1) % 2**31
        request.with_header(correlation_id=self._correlation, client_id=self.settings.client_id)
        try:
            self._socket.sendall(request.encode(framed=True, header=True))
        except OSError as error:
            raise self._lost(error) from error

    def receive(self, most: int = _FRAME) -> Bytes:
        """Wait for an answer: its bytes after the length, the header first, and `PADDING` more.

        Raises:
            ConnectionLost: it did not come in time, or is longer than `most`, or another one's.
        """
        head = bytearray(8)
        self._fill(memoryview(head))
        size = int.from_bytes(head[:4], "big", signed=True)
        if not 4 <= size <= most:
            self.close()
            raise ConnectionLost(f"{self.name} does not speak Kafka's protocol, or wants TLS")
        if int.from_bytes(head[4:], "big") != self._correlation:
            self.close()
            raise ConnectionLost(f"{self.name} answered what it was not asked")
        answer = np.empty(size + PADDING, np.uint8)
        answer[:4] = np.frombuffer(head, np.uint8)[4:]
        self._fill(answer.data[4:size])
        answer[size:] = 0
        return answer

    def close(self) -> None:
        """Let go of it; a thread that waits for an answer gets `ConnectionLost` at once."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    @property
    def done(self) -> bool:
        """Whether it is closed, or its session is about to end: to be replaced by a new one."""
        return self._closed or time.monotonic() > self.expires

    def _fill(self, room: memoryview) -> None:
        try:
            while room:
                size = self._socket.recv_into(room)
                if not size:
                    raise ConnectionResetError("the broker closed the connection")
                room = room[size:]
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, error: OSError) -> ConnectionLost | BadConfiguration:
        self.close()
        if isinstance(error, ssl.SSLError) and not self._versions:
            return _no_trust(self.name, error)
        waited = isinstance(error, TimeoutError)
        return ConnectionLost(f"{self.name}: {'no answer in time' if waited else error}")

    def _connected(self, host: str, port: int, context: ssl.SSLContext | None) -> socket.socket:
        plain = None
        try:
            plain = socket.create_connection((host, port), self.settings.connect_timeout)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self.settings.receive_buffer > 0:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.settings.receive_buffer)
            opened = context.wrap_socket(plain, server_hostname=host) if context else plain
            opened.settimeout(self.settings.request_timeout)
            return opened
        except OSError as error:
            if plain is not None:
                plain.close()
            if isinstance(error, ssl.SSLError):
                raise _no_trust(self.name, error) from error
            raise ConnectionLost(f"{self.name}: {error}") from error

    def _ask_versions(self) -> dict[int, tuple[int, int]]:
        for version in (_API_VERSIONS, 0):
            request = ApiVersionsRequest(
                version=version, client_software_name="bitlake", client_software_version="1"
            )
            self.send(request)
            frame = KafkaBytes(0)
            frame += self.receive(_GREETING)[:-PADDING].tobytes()
            kind = request.header.get_response_class()
            kind.parse_header(frame)
            answer = kind.decode(frame)
            if answer.error_code != _UNSUPPORTED_VERSION:
                break
        return {api.api_key: (api.min_version, api.max_version) for api in answer.api_keys}

    def _authenticate(self) -> None:
        sasl = self.settings.sasl
        if sasl is None:
            return
        answer = self.ask(SaslHandshakeRequest(mechanism=sasl.mechanism), most=1)
        if answer.error_code:
            raise _no_mechanism(self.name, sasl.mechanism, answer.mechanisms)
        user = sasl.username
        if sasl.mechanism.startswith("SCRAM"):
            user = user.replace("=", "=3D").replace(",", "=2C")
        mechanism = get_sasl_mechanism(sasl.mechanism)(
            host=self._host,
            sasl_mechanism=sasl.mechanism,
            sasl_plain_username=user,
            sasl_plain_password=sasl.password,
        )
        try:
            while not mechanism.is_done():
                answer = self.ask(SaslAuthenticateRequest(mechanism.auth_bytes()))
                if answer.error_code:
                    raise _no_entry(self.name, sasl.username, answer.error_message or "")
                mechanism.receive(answer.auth_bytes)
        except (ValueError, KeyError) as error:
            raise _no_entry(self.name, sasl.username, str(error)) from error
        lifetime = getattr(answer, "session_lifetime_ms", 0) or 0
        if lifetime:
            self.expires = time.monotonic() + _SESSION * lifetime / 1000


def problem(code: int) -> str:
    """The name of a broker's error code."""
    return str(for_code(code).__name__)


def _no_trust(name: str, error: ssl.SSLError) -> BadConfiguration:
    reason = getattr(error, "verify_message", "") or error.reason or str(error)
    return BadConfiguration(
        f"no TLS connection to the Kafka broker {name}: {reason}",
        next_step="check that this listener speaks TLS, that ssl.truststore.location holds the authority of"
        " its certificate, that bootstrap.servers names it as the certificate does, and whether it wants a"
        " certificate of ours",
    )


def _no_mechanism(name: str, mechanism: str, offered: Sequence[str]) -> BadConfiguration:
    if not offered:
        return BadConfiguration(
            f"the listener {name} of the Kafka broker has no SASL",
            next_step="check security.protocol, and that bootstrap.servers names the listener with SASL",
        )
    return BadConfiguration(
        f"the Kafka broker {name} does not take {mechanism}",
        next_step=f"set sasl.mechanism to one of {', '.join(offered)}",
    )


def _no_entry(name: str, user: str, reason: str) -> BadConfiguration:
    return BadConfiguration(
        f"the Kafka broker {name} does not let {user} in: {reason or 'authentication failed'}",
        next_step="check the user and the password in sasl.jaas.config, and sasl.mechanism",
    )
