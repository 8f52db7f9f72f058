from collections.abc import Generator

import pytest

from tests import invariants
from tests.matrix import Claims, claims_of

CLAIMS = pytest.StashKey[Claims]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what all markers claim, those of deselected tests too."""
    claims = config.stash[CLAIMS] = Claims()
    claims.pytest_collection_modifyitems(items)


@pytest.fixture
def claims(request: pytest.FixtureRequest) -> Claims:
    """What the markers of all tests claim."""
    if [arg.rstrip("/") for arg in request.config.args] != ["tests"]:
        pytest.skip("the page is about all tests; only some were collected")
    return request.config.stash[CLAIMS]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """A test that its marker puts into docs/invariants.md must have checked what the page says."""
    invariants.CHECKED.clear()
    yield
    for fault, claimed in claims_of(item):
        missing = set(claimed) - invariants.CHECKED
        assert not missing, f"after {fault} never checked: {', '.join(sorted(missing))}"
