"""Fixtures that every test may use: servers, started once per run and stopped whatever happens."""

from collections.abc import Iterator

import pytest

from tests.servers import PostgreSQL, SeaweedFS, postgresql, seaweedfs


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    with postgresql(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with seaweedfs(tmp_path_factory.mktemp("seaweed")) as server:
        yield server
