"""Questions that tell whether a server is there."""

import json
import socket
import struct
import urllib.error
import urllib.request
from typing import Any

from stack.server import HOST

_SECONDS = 3.0
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)
"""Kafka's request for the versions of its protocol that a broker speaks, version 0, with its length."""


def answers(address: str) -> bool:
    """Whether a server answers HTTP requests with anything but a failure of its own."""
    try:
        urllib.request.urlopen(address, timeout=_SECONDS).close()  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        return error.code < 500
    except OSError:
        return False
    return True


def asked(address: str) -> Any:
    """The JSON that is at an address; None: no answer."""
    try:
        with urllib.request.urlopen(address, timeout=_SECONDS) as answer:  # noqa: S310
            return json.load(answer)
    except (OSError, ValueError):
        return None


def speaks_kafka(port: int) -> bool:
    """Whether a broker on this machine answers in Kafka's protocol."""
    try:
        with socket.create_connection((HOST, port), _SECONDS) as connection:
            connection.sendall(_API_VERSIONS)
            return len(connection.recv(10)) == 10
    except OSError:
        return False
