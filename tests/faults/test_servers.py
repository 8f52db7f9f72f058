"""The same on catalogs and warehouses that are servers: killed beside them, and when they do not answer."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from pipeline.faults import CHECKPOINT_POINTS, EPOCH_POINTS
from tests.faults.stories import Story, seed_of
from tests.forks import Forks
from tests.matrix import ANSWER_LOST, CATALOG_AWAY, CONCURRENT, KILL_POSTGRESQL, KILL_REST, STORE_AWAY
from tests.proxy import Proxy
from tests.servers import PostgreSQL, SeaweedFS

pytestmark = pytest.mark.servers
long, fault = pytest.mark.long, pytest.mark.fault
Tell = Callable[..., Story]


def story_on(catalog: dict[str, Any], seed: int, folder: Path, forks: Forks, **more: Any) -> Story:
    """Tables of a name that no other test uses."""
    namespace = f"n{uuid.uuid4().hex[:12]}"
    settings = {"catalog": catalog, "dead_letters": {"table": f"{namespace}.dead_letters"}}
    return Story(folder, forks, seed, table=f"{namespace}.bonds", settings=settings, **more)


def proxy_to(url: str) -> Proxy:
    address = urlparse(url)
    return Proxy((str(address.hostname), int(address.port or 80)))


@pytest.fixture
def on_postgres(postgres: PostgreSQL, tmp_path: Path, forks: Forks) -> Tell:
    name = uuid.uuid4().hex
    catalog = {"name": name, "type": "sql", "uri": postgres.uri, "warehouse": str(tmp_path / "warehouse")}
    return lambda seed, **more: story_on(catalog, seed, tmp_path, forks, **more)


@pytest.fixture
def on_rest(seaweed: SeaweedFS, tmp_path: Path, forks: Forks) -> Tell:
    catalog = {"name": "lake", **seaweed.rest_catalog}
    return lambda seed, **more: story_on(catalog, seed, tmp_path, forks, **more)


@pytest.fixture
def catalog_proxy(seaweed: SeaweedFS) -> Iterator[Proxy]:
    with proxy_to(seaweed.iceberg) as proxy:
        yield proxy


@pytest.fixture
def store_proxy(seaweed: SeaweedFS) -> Iterator[Proxy]:
    with proxy_to(seaweed.s3) as proxy:
        yield proxy


@pytest.fixture
def behind(seaweed: SeaweedFS, tmp_path: Path, forks: Forks) -> Tell:
    def tell(seed: int, *, catalog: str = "", store: str = "", **more: Any) -> Story:
        settings = {"name": "lake", **seaweed.rest_catalog}
        settings |= {"uri": catalog} if catalog else {}
        settings |= {"s3.endpoint": store} if store else {}
        return story_on(settings, seed, tmp_path, forks, **more)

    return tell


def some_long(quick: str, points: tuple[str, ...]) -> list[Any]:
    return [quick, *(pytest.param(point, marks=long) for point in points if point != quick)]


def time_of(point: str) -> str:
    """The first checkpoint, or the second epoch."""
    return f"{point}:{1 if point in CHECKPOINT_POINTS else 2}"


@fault(KILL_POSTGRESQL)
@pytest.mark.parametrize("point", some_long("between-commits", (*EPOCH_POINTS, *CHECKPOINT_POINTS)))
def test_killed_on_postgresql(point: str, on_postgres: Tell) -> None:
    on_postgres(seed_of(point), checkpoint_records=5).kill(time_of(point)).ends_well()


@fault(KILL_REST)
@pytest.mark.parametrize("point", some_long("between-commits", (*EPOCH_POINTS, *CHECKPOINT_POINTS)))
def test_killed_on_rest_and_s3(point: str, on_rest: Tell) -> None:
    on_rest(seed_of(point), checkpoint_records=5).kill(time_of(point)).ends_well()


@long
@fault(KILL_REST)
@pytest.mark.parametrize("point", ["after-file-list:2", "between-commits:3"])
def test_killed_in_upsert_mode_on_rest_and_s3(point: str, on_rest: Tell) -> None:
    on_rest(seed_of(point), kind="upsert-partitioned").kill(point, "between-commits").ends_well()


@long
@fault(CONCURRENT)
@pytest.mark.parametrize("deed", ["touch", "compact"])
@pytest.mark.parametrize("on", ["on_postgres", "on_rest"])
def test_others_commit_at_the_same_time(on: str, deed: str, request: pytest.FixtureRequest) -> None:
    story = request.getfixturevalue(on)(71)
    story.place.finish(story.mishap(f"{deed}@before-first-commit:2"))
    story.place.check(story.model)


@fault(ANSWER_LOST)
@pytest.mark.parametrize("table", ["bonds", pytest.param("bonds__calls", marks=long)])
def test_an_answer_that_is_lost(table: str, catalog_proxy: Proxy, behind: Tell) -> None:
    story = behind(72, catalog=catalog_proxy.url)
    first = story.place.stop(story.load, "before-first-commit:2")
    catalog_proxy.lose_answers(f"/tables/{table} ".encode())
    story.ends_as_resumed(first)
    assert catalog_proxy.lost == 1


@fault(CATALOG_AWAY)
@pytest.mark.parametrize("point", some_long("between-commits:2", ("after-intent:2", "before-first-commit:2")))
def test_a_catalog_that_is_away_for_a_moment(point: str, catalog_proxy: Proxy, behind: Tell) -> None:
    story = behind(73, catalog=catalog_proxy.url)
    first = story.place.stop(story.load, point)
    catalog_proxy.go_away(2)
    story.ends_as_resumed(first)


@long
@fault(CATALOG_AWAY)
@pytest.mark.parametrize("stalled", [True, False])
@pytest.mark.parametrize("point", ["after-intent:2", "between-commits:2"])
def test_a_catalog_that_is_away_for_longer(
    point: str, stalled: bool, catalog_proxy: Proxy, behind: Tell
) -> None:
    story = behind(74, catalog=catalog_proxy.url)
    first = story.place.stop(story.load, point)
    catalog_proxy.stall() if stalled else catalog_proxy.go_away()
    assert story.place.resume(first)["error"] == "Unavailable"
    assert "does not answer" in story.place.refused(story.load, "Unavailable")
    catalog_proxy.flow()
    catalog_proxy.come_back()
    story.ends_well()


@long
@fault(STORE_AWAY)
@pytest.mark.parametrize("point", ["before-data-file:2", "before-first-commit:2"])
def test_a_store_that_is_away(point: str, store_proxy: Proxy, behind: Tell) -> None:
    story = behind(75, store=store_proxy.url)
    first = story.place.stop(story.load, point)
    store_proxy.go_away()
    assert story.place.resume(first)["error"] == "Unavailable"
    store_proxy.come_back()
    story.ends_well()
