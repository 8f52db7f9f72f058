"""PostgreSQL and SeaweedFS for tests: servers of the stack in a folder, as long as a context lasts."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.plan import Wanted
from stack.ports import free_ports
from stack.postgres import PostgreSQL
from stack.seaweedfs import SeaweedFS
from stack.stack import Stack

__all__ = ["PostgreSQL", "SeaweedFS", "free_ports", "postgresql", "seaweedfs"]


@contextmanager
def postgresql(folder: Path) -> Iterator[PostgreSQL]:
    """Run PostgreSQL."""
    with Stack(folder, Wanted(("postgres",))) as stack:
        yield stack.postgres


@contextmanager
def seaweedfs(folder: Path) -> Iterator[SeaweedFS]:
    """Run SeaweedFS: an S3 server with a bucket, and an Iceberg REST catalog with a table bucket."""
    with Stack(folder, Wanted(("seaweedfs",))) as stack:
        yield stack.seaweedfs
