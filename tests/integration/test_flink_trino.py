"""What a Flink job wrote, by the views in Trino: also where readers leave out files by their statistics."""

from pathlib import Path

import pytest

from pipeline.views.trino_client import TrinoClient
from stack.control import Background
from stack.trino import Trino
from tests.faults.runs import BONDS
from tests.integration.flink.place import FlinkPlace
from tests.integration.test_trino_views import check_views

pytestmark = [pytest.mark.servers, pytest.mark.long]


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_views_answer_as_the_commands_do(stack: Background, tmp_path: Path, mode: str) -> None:
    place = FlinkPlace(tmp_path, stack, BONDS | {"mode": mode}, seed=71)
    address = stack.server(Trino).address
    for _ in range(2):  # deletes of rows of another commit, and of the same one
        place.topic.grow(60)
        place.submit("--until-end", "--wait")
        check_views(place.lake, tmp_path, TrinoClient(address), address, seed=71)
