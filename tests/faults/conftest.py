from collections.abc import Generator, Iterator

import pytest

from tests import invariants
from tests.forks import Forks
from tests.matrix import claims_of


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Processes that load; their kernels are loaded once for all of them."""
    with Forks("tests.faults.runs:run", prepare="warm_up") as forks:
        yield forks


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """A test that its marker puts into docs/invariants.md must have checked what the page says."""
    invariants.CHECKED.clear()
    yield
    for fault, claimed in claims_of(item):
        missing = set(claimed) - invariants.CHECKED
        assert not missing, f"after {fault} never checked: {', '.join(sorted(missing))}"
