"""The tests of `jobs/java`, each as one of ours: they are in `tests/java/src`."""

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.java import running

pytestmark = pytest.mark.slow
NAMES = running.names()


class Run(NamedTuple):
    results: dict[str, list[str | None]]
    printed: str


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(*running.results(tmp_path_factory.mktemp("java")))


@pytest.mark.parametrize("name", NAMES)
def test_in_java(java: Run, name: str) -> None:
    assert name in java.results, f"it did not run:\n{java.printed[-5000:]}"
    wrong = [one for one in java.results[name] if one is not None]
    assert not wrong, "\n".join(wrong)


def test_all_that_ran_are_told(java: Run) -> None:
    assert java.results.keys() == set(NAMES), java.printed[-5000:]
    assert len(NAMES) == len(set(NAMES))


def test_a_class_without_tests_is_told() -> None:
    tested = {name.partition(".")[0] for name in NAMES}
    assert {source.stem for source in Path(running.SOURCES).rglob("*Test.java")} == tested
