"""Certificates for servers of tests, made by `openssl`."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_EXTENSIONS = """subjectAltName=IP:127.0.0.1,DNS:localhost
basicConstraints=CA:FALSE
"""


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority, and a key with its certificate for a server and for a client.

    Attributes:
        stranger: an authority that signed none of them.
    """

    authority: Path
    server: Path
    client: Path
    stranger: Path


def certificates(folder: Path) -> Certificates:
    """Make an authority and what it signs; valid for a day."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "extensions").write_text(_EXTENSIONS)
    authority = _authority(folder, "authority")
    return Certificates(
        authority,
        _signed(folder, "server"),
        _signed(folder, "client"),
        _authority(folder, "stranger"),
    )


def _authority(folder: Path, name: str) -> Path:
    _openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={name}"),
        *("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")),
    )
    return folder / f"{name}.pem"


def _signed(folder: Path, name: str) -> Path:
    key, request, certificate = (folder / f"{name}.{kind}" for kind in ("key", "csr", "crt"))
    _openssl(
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
        *("-keyout", str(key), "-out", str(request)),
    )
    _openssl(
        *("x509", "-req", "-in", str(request), "-out", str(certificate), "-days", "1"),
        *("-CA", str(folder / "authority.pem"), "-CAkey", str(folder / "authority.key"), "-CAcreateserial"),
        *("-extfile", str(folder / "extensions")),
    )
    both = folder / f"{name}.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    return both


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)
