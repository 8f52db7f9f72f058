"""What the tests of the Flink job share."""

from collections.abc import Iterator

import pytest

from pipeline.flink.cluster import Cluster
from stack.control import Background


@pytest.fixture
def job(stack: Background) -> Iterator[None]:
    """What a test leaves running is cancelled: the stack has one slot."""
    yield
    cancel_all(Cluster(stack.sections()["flink"]))


def cancel_all(cluster: Cluster) -> None:
    for left in cluster.running():
        cluster.cancel(left)
        cluster.wait(left)
