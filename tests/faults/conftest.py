from collections.abc import Iterator

import pytest

from tests.forks import Forks


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Processes that load; their kernels are loaded once for all of them."""
    with Forks("tests.faults.runs:load", prepare="warm_up") as forks:
        yield forks
