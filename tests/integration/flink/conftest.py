"""What the tests of the Flink job share."""

from collections.abc import Iterator

import pytest

from stack.control import Background
from tests.integration.flink.cluster import FaultyCluster, cancel_all, clear, faulty_cluster, flink_of


@pytest.fixture
def job(stack: Background) -> Iterator[None]:
    """What a test leaves running is cancelled: the stack has one slot."""
    yield
    cancel_all(flink_of(stack))


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[FaultyCluster]:
    """A cluster of a module's own, whose servers its tests may kill; it has its `TASK_MANAGERS`, or one."""
    folder = tmp_path_factory.mktemp("flink") / "stack"
    with faulty_cluster(folder, getattr(request.module, "TASK_MANAGERS", 1)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def stack(shared: FaultyCluster) -> Background:
    """The same, for tests whose servers stay well."""
    return shared.stack


@pytest.fixture
def cluster(shared: FaultyCluster) -> Iterator[FaultyCluster]:
    yield shared
    clear(shared)
