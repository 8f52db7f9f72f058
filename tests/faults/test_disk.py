"""A disk that is full at each point of the protocol: an error that says so, and a right end once there is room."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pipeline.faults import CHECKPOINT_POINTS, COMMIT_POINTS, EPOCH_POINTS
from tests.faults.mishaps import FILLER
from tests.faults.stories import Story, seed_of
from tests.forks import Forks
from tests.matrix import FULL_DATA, FULL_METADATA, FULL_STATE

long, fault = pytest.mark.long, pytest.mark.fault
SIZE = "24m"

Disk = Callable[[Path], None]


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def disk() -> Iterator[Disk]:
    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(small_disk(folder))


def survives(
    tmp_path: Path, forks: Forks, disk: Disk, *, folder: str, point: str, kind: str = "append"
) -> None:
    """Fill the disk that holds `folder` at a point; then make room."""
    full = tmp_path / "disk"
    disk(full)
    settings = {
        "state": str(full / "state" if folder == "state" else tmp_path / "state"),
        "catalog": {
            "name": "lake",
            "type": "sql",
            "uri": f"sqlite:///{full if folder == 'catalog' else tmp_path}/catalog.db",
            "warehouse": str(full / "warehouse" if folder == "warehouse" else tmp_path / "warehouse"),
        },
    }
    story = Story(tmp_path, forks, seed_of(folder, point), kind=kind, settings=settings, checkpoint_records=5)
    error = "StateUnavailable" if folder == "state" else "Unavailable"
    time = 1 if point in CHECKPOINT_POINTS else 2
    message = story.place.refused(story.mishap(f"fill@{point}:{time}={full}"), error)
    assert "written" in message
    (full / FILLER).unlink()
    story.ends_well()


@fault(FULL_DATA)
@pytest.mark.slow
@pytest.mark.parametrize("point", ["before-data-file", pytest.param("after-data-file", marks=long)])
def test_no_room_for_data(point: str, tmp_path: Path, forks: Forks, disk: Disk) -> None:
    survives(tmp_path, forks, disk, folder="warehouse", point=point)


@long
@fault(FULL_METADATA)
@pytest.mark.parametrize("kind", ["append", "upsert"])
@pytest.mark.parametrize("point", COMMIT_POINTS[:2])
def test_no_room_for_metadata(point: str, kind: str, tmp_path: Path, forks: Forks, disk: Disk) -> None:
    survives(tmp_path, forks, disk, folder="warehouse", point=point, kind=kind)


@long
@fault(FULL_METADATA)
@pytest.mark.parametrize("point", ["before-data-file", *COMMIT_POINTS[:2]])
def test_no_room_for_the_catalog(point: str, tmp_path: Path, forks: Forks, disk: Disk) -> None:
    survives(tmp_path, forks, disk, folder="catalog", point=point)


@long
@fault(FULL_STATE)
@pytest.mark.parametrize("point", [*EPOCH_POINTS, *CHECKPOINT_POINTS[:2]])
def test_no_room_for_state(point: str, tmp_path: Path, forks: Forks, disk: Disk) -> None:
    survives(tmp_path, forks, disk, folder="state", point=point)
