"""Fixtures that every test may use: servers, started once per run and stopped whatever happens."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.servers import PostgreSQL, SeaweedFS, postgresql, seaweedfs

if TYPE_CHECKING:
    from tests.kafka_broker import Kafka


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
