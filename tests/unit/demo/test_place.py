from pathlib import Path

import pytest

from pipeline.demo.place import DATASETS, Place
from pipeline.errors import BadInput


def test_prepare_writes_the_lake_and_its_records(tmp_path: Path):
    place = Place(tmp_path / "a" / "demo")

    place.prepare()

    assert all(place.file(name).stat().st_size > 1000 for name in DATASETS)
    assert "datasets:" in place.config.read_text()
    assert not place.finished


def test_an_unfinished_demo_is_made_anew_and_a_finished_one_is_known(tmp_path: Path):
    place = Place(tmp_path)
    place.prepare()
    leftover = tmp_path / ".bitlake" / "half"
    leftover.parent.mkdir()
    leftover.touch()

    place.prepare()

    assert not leftover.exists()
    (tmp_path / ".bitlake").mkdir()
    place.finish()
    assert place.finished


def test_a_directory_of_someone_else_is_left_alone(tmp_path: Path):
    (tmp_path / "lake.yaml").write_text("datasets: []\n")

    with pytest.raises(BadInput, match="not empty"):
        Place(tmp_path).prepare()

    assert [p.name for p in tmp_path.iterdir()] == ["lake.yaml"]
