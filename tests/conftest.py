"""Fixtures that every test may use: servers, started once per run and stopped whatever happens."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.forks import Forks
from tests.servers import PostgreSQL, SeaweedFS, postgresql, seaweedfs

if TYPE_CHECKING:
    from tests.kafka_broker import Kafka

FIRST = ("faults", "property", "unit/engine", "unit/cli", "unit/sink")
"""Where tests take longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: workers take whole files, and none should begin with a long one when all else is done."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    place = item.path.relative_to(Path(__file__).parent).as_posix()
    return next((turn for turn, folder in enumerate(FIRST) if place.startswith(folder)), len(FIRST))


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Processes that may be killed; their kernels are loaded once for all of them."""
    with Forks() as forks:
        yield forks


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    with postgresql(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with seaweedfs(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Kafka"]:
    """One Kafka broker, also with TLS and SASL; every test makes topics of its own."""
    from tests.kafka_broker import kafka

    with kafka(tmp_path_factory.mktemp("kafka"), secure=True) as cluster:
        yield cluster
