"""Faults of `bitlake run`: brokers and catalogs that are away, topics that change, writers that were stopped."""

import copy
import functools
import json
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from confluent_kafka import TopicPartition

import pipeline.engine.run
from pipeline import faults
from pipeline.engine.run import open_source
from pipeline.errors import Refused
from pipeline.faults import EPOCH_POINTS
from tests.faults.mishaps import Mishap
from tests.faults.runs import ATTEMPTS
from tests.faults.stories import seed_of
from tests.faults.topics import PARTITIONS, RunStory, service
from tests.forks import Forks
from tests.integration.kafka.test_observing import read
from tests.kafka_broker import Kafka, wait_until
from tests.matrix import (
    BROKER_AWAY,
    CATALOG_AWAY,
    CLOCK,
    KILL,
    POISON,
    RECREATED,
    RETENTION,
    SECOND_WRITER,
    STOPPED,
)
from tests.model.decoding import Record
from tests.model.strategies import numbered, random_stream
from tests.proxy import Proxy
from tests.servers import SeaweedFS

pytestmark = pytest.mark.servers
long, fault = pytest.mark.long, pytest.mark.fault
SERVICE = {"commit": {"records": 7, "seconds": 0.2}}
WAITING = "waiting for a server that is away"


@pytest.fixture
def between(broker: Kafka, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy that every connection of ours to the broker goes through."""
    ours = broker.broker(1).ports["PLAIN"]
    connect = socket.create_connection
    with Proxy(("127.0.0.1", ours)) as proxy:

        def through(address: tuple[str, int], *more: Any, **named: Any) -> socket.socket:
            if sys._getframe(1).f_globals["__name__"] == "pipeline.source.kafka.connection":
                address = proxy.address if address[1] == ours else address
            return connect(address, *more, **named)

        monkeypatch.setattr(socket, "create_connection", through)
        yield proxy


def impatient(broker: Kafka) -> dict[str, Any]:
    """Settings of a service that finds out quickly that a broker is away."""
    times = {"request.timeout.ms": "2000", "socket.connection.setup.timeout.ms": "1000"}
    return SERVICE | {"kafka": broker.properties | times | {"metadata.max.age.ms": "500"}}


@fault(BROKER_AWAY)
@pytest.mark.parametrize("how", ["dropped", pytest.param("stalled", marks=long)])
def test_a_broker_behind_a_bad_line(
    how: str, tmp_path: Path, forks: Forks, broker: Kafka, between: Proxy
) -> None:
    story = RunStory(tmp_path, forks, broker, seed_of(how), settings=impatient(broker))
    with story.place.running():
        story.read_all()
        for _ in range(3):
            between.stall() if how == "stalled" else between.go_away(5)
            story.topic.grow(5)
            between.flow()
            story.read_all()
    story.goes_on()


@long
@fault(BROKER_AWAY)
@pytest.mark.parametrize("how", ["dropped", "stalled"])
def test_a_broker_that_is_away_for_longer_than_it_is_waited_for(
    how: str,
    tmp_path: Path,
    forks: Forks,
    broker: Kafka,
    between: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(pipeline.engine.run, "open_source", functools.partial(open_source, patience=1.0))
    story = RunStory(tmp_path, forks, broker, seed_of(how) + 1, settings=impatient(broker))
    with story.place.running():
        story.read_all()
        between.stall() if how == "stalled" else between.go_away()
        story.topic.grow(5)
        wait_until(lambda: WAITING in caplog.text, "the run to wait")
        between.flow()
        between.come_back()
        story.read_all()
    story.goes_on()


@long
@fault(BROKER_AWAY)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_broker_that_starts_again(how: signal.Signals, tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    story = RunStory(tmp_path, forks, broker, int(how), settings=impatient(broker))
    with story.place.running():
        story.read_all()
        broker.broker(1).stop(how)
        broker.broker(1).start()
        broker.wait()
        broker.wait_for_partitions(story.topic.name, PARTITIONS)
        story.topic.grow(15)
        story.read_all()
    story.goes_on()


LETTERS = {"dead_letters": {"topic": "{topic}.dlq"}}


def letters_stay_whole(story: RunStory) -> None:
    """Every dead letter of the table is in the topic, perhaps more than once, and no other."""
    table = story.place.catalog.load_table("bitlake.dead_letters").scan(selected_fields=("id",))
    known = {row["id"].encode() for row in table.to_arrow().to_pylist()}
    sent = read(story.topic.broker, f"{story.topic.name}.dlq", len(known))
    assert {dict(headers)["bitlake.id"] for *_, headers, _ in sent} == known
    assert len(known) == len(story.topic.model.dead) > 0


@fault(BROKER_AWAY)
@pytest.mark.parametrize("stopped", [False, True])
def test_brokers_that_go_away_while_dead_letters_wait(
    stopped: bool,
    tmp_path: Path,
    forks: Forks,
    broker: Kafka,
    between: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They are in the table, and are sent once the brokers are back: to this run, or to the next one."""
    story = RunStory(tmp_path, forks, broker, 91, settings=impatient(broker) | LETTERS)
    story.topic.add(poisoned())
    monkeypatch.setattr("pipeline.sink.dead_letter_topic.RETRY_SECONDS", 0.5)
    monkeypatch.setattr(faults, "_fault", Mishap("after-last-commit", 2, between.go_away))
    if stopped:
        with pytest.raises(AssertionError, match="can't be sent to Kafka"), story.place.running():
            wait_until(lambda: letters_wait(caplog), "letters to wait")
        between.come_back()
        story.ends_well()
    else:
        with story.place.running():
            wait_until(lambda: letters_wait(caplog), "letters to wait")
            between.come_back()
            story.read_all()
        story.topic.add(poisoned())
        story.goes_on()
    letters_stay_whole(story)


def letters_wait(caplog: pytest.LogCaptureFixture) -> bool:
    """Whether the run was told that letters can't be sent: what it waits for is beside the message, not in it."""
    return any("dead letters can't be sent" in getattr(record, "error", "") for record in caplog.records)


def poisoned() -> list[Record]:
    return [Record(b"{", 1_700_000_000_000_000, partition=n % PARTITIONS) for n in range(5)]


@long
@fault(KILL)
@pytest.mark.parametrize("point", EPOCH_POINTS)
def test_killed_beside_dead_letters_on_their_way(
    point: str, tmp_path: Path, forks: Forks, broker: Kafka
) -> None:
    story = RunStory(tmp_path, forks, broker, 92, settings=LETTERS)
    story.topic.add(poisoned())
    story.kill(f"{point}:2", point).ends_well()
    story.topic.add(poisoned())
    story.kill(point)
    story.lose_state()
    if point != "between-commits":
        story.ends_well()
        letters_stay_whole(story)


@fault(CATALOG_AWAY)
def test_a_catalog_that_is_away_at_the_start(
    seaweed: SeaweedFS, tmp_path: Path, forks: Forks, broker: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    with behind_a_proxy(seaweed) as (proxy, namespace, settings):
        story = RunStory(tmp_path, forks, broker, 80, settings=settings, table=f"{namespace}.bonds")
        proxy.go_away()
        with story.place.running():
            wait_until(lambda: WAITING in caplog.text, "the run to wait")
            proxy.come_back()
            story.read_all()
        story.goes_on()


@contextmanager
def behind_a_proxy(seaweed: SeaweedFS) -> Iterator[tuple[Proxy, str, dict[str, Any]]]:
    """A proxy in front of the catalog, a namespace of its own, and settings of a service that uses them."""
    address, namespace = urlparse(seaweed.iceberg), f"n{uuid.uuid4().hex[:12]}"
    with Proxy((str(address.hostname), int(address.port or 80))) as proxy:
        yield (
            proxy,
            namespace,
            SERVICE
            | {
                "catalog": {"name": "lake", **seaweed.rest_catalog, "uri": proxy.url},
                "dead_letters": {"table": f"{namespace}.dead_letters"},
            },
        )


@long
@fault(CATALOG_AWAY)
@pytest.mark.parametrize("stalled", [False, True])
def test_a_catalog_that_is_away_while_records_come(
    stalled: bool,
    seaweed: SeaweedFS,
    tmp_path: Path,
    forks: Forks,
    broker: Kafka,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("pipeline.sink.commit.ATTEMPTS", ATTEMPTS)
    monkeypatch.setattr("pipeline.sink.rest.ANSWER_SECONDS", 1.0)
    with behind_a_proxy(seaweed) as (proxy, namespace, settings):
        story = RunStory(tmp_path, forks, broker, 81, settings=settings, table=f"{namespace}.bonds")
        with story.place.running():
            story.read_all()
            proxy.stall() if stalled else proxy.go_away()
            story.topic.grow(15)
            wait_until(lambda: WAITING in caplog.text, "the run to wait")
            proxy.flow()
            proxy.come_back()
            story.read_all()
        story.goes_on()


def test_stopped_while_the_catalog_has_stalled(
    seaweed: SeaweedFS, tmp_path: Path, forks: Forks, broker: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Soon, though its answers may take minutes. What was left behind may land beside the next run."""
    monkeypatch.setattr("pipeline.engine.committer.STOPPING_SECONDS", 2.0)
    monkeypatch.setattr("pipeline.engine.load.LEASES_SECONDS", 2.0)
    with behind_a_proxy(seaweed) as (proxy, namespace, settings):
        story = RunStory(tmp_path, forks, broker, 93, settings=settings, table=f"{namespace}.bonds")
        committing = threading.Event()
        left = "had not answered when the run was stopped"
        with pytest.raises(AssertionError, match=left), story.place.running():
            story.read_all()

            def stall() -> None:
                proxy.stall()
                committing.set()

            monkeypatch.setattr(faults, "_fault", Mishap("before-first-commit", 1, stall))
            story.topic.grow(15)
            wait_until(committing.is_set, "a commit")
            stopped = time.monotonic()
        assert time.monotonic() - stopped < 20
        proxy.flow()
        story.goes_on()


@fault(RETENTION)
def test_retention_passed_the_stored_offset(tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    story = RunStory(tmp_path, forks, broker, 82)
    story.ends_well()
    before = copy.deepcopy(story.topic.model)
    story.topic.grow(30)
    everything = [TopicPartition(story.topic.name, number, -1) for number in range(PARTITIONS)]
    for deleted in broker.admin.delete_records(everything).values():
        deleted.result(60)
    for _ in range(2):
        message = story.place.refused(story.follow)
        assert "is no longer in the topic" in message
        assert "retention.ms" in message
    story.place.check(before)


@fault(RECREATED)
@pytest.mark.parametrize("more", [pytest.param(0, marks=long), 60])
def test_a_topic_deleted_and_made_anew(more: int, tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    story = RunStory(tmp_path, forks, broker, 83)
    story.ends_well()
    before = copy.deepcopy(story.topic.model)
    broker.delete_topic(story.topic.name)
    broker.create_topic(story.topic.name, PARTITIONS, retention_ms=-1)
    story.topic.grow(more)
    assert "was deleted and made anew" in story.place.refused(story.follow)
    story.place.check(before)


@long
@fault(RECREATED)
@pytest.mark.parametrize("anew", [True, False])
def test_a_topic_deleted_while_it_is_read(anew: bool, tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    story = RunStory(tmp_path, forks, broker, 84, settings=impatient(broker))
    story.ends_well()
    with pytest.raises(AssertionError, match="was deleted"), story.place.running() as failures:
        story.topic.grow(5)
        story.read_all()
        before = copy.deepcopy(story.topic.model)
        broker.delete_topic(story.topic.name)
        if anew:
            broker.create_topic(story.topic.name, PARTITIONS, retention_ms=-1)
            story.topic.grow(15)
        wait_until(lambda: failures, "the run to end")
        assert isinstance(failures[0], Refused)
    story.place.check(before)


@long
@pytest.mark.parametrize("killed", [False, True])
def test_a_partition_added_while_it_is_read(
    killed: bool, tmp_path: Path, forks: Forks, broker: Kafka
) -> None:
    story = RunStory(tmp_path, forks, broker, 85, settings=impatient(broker))
    with story.place.running():
        story.read_all()
        broker.add_partitions(story.topic.name, PARTITIONS + 1)
        story.topic.add(later(story, PARTITIONS))
        story.read_all()
    story.check()
    if killed:
        story.topic.add(later(story, PARTITIONS))
        story.kill("between-commits")
    story.proceeds()


def later(story: RunStory, partition: int) -> list[Record]:
    """Records of new keys in a partition, later than all others."""
    last = max(story.topic.model.clocks.values()) + 1000_000
    return [
        Record(
            json.dumps({"isin": f"new-{n % 5}", "at": f"2024-01-{n + 1:02}", "size": n}).encode(),
            last + n * 1000,
            partition=partition,
        )
        for n in range(15)
    ]


@fault(STOPPED)
@fault(SECOND_WRITER)
@pytest.mark.parametrize(
    "point", ["after-intent", *(pytest.param(p, marks=long) for p in EPOCH_POINTS if p != "after-intent")]
)
def test_stopped_and_back_beside_its_successor(
    point: str, tmp_path: Path, forks: Forks, broker: Kafka
) -> None:
    story = RunStory(tmp_path, forks, broker, seed_of(point))
    first = story.place.stop(story.follow, f"{point}:2")
    other = story.successor()
    assert "is being written by process" in other.refused(story.follow, "Leased")
    other.finish(story.taking_over)
    late = story.place.resume(first)
    assert late["error"] == "Fenced"
    assert "was taken over by process" in late["message"]
    other.check(story.topic.model)
    story.goes_on()


@long
def test_a_service_stopped_and_back_beside_its_successor(tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    story = RunStory(tmp_path, forks, broker, 86, settings=SERVICE)
    with service(tmp_path) as process:
        story.read_all()
        process.send_signal(signal.SIGSTOP)
        story.topic.grow(15)
        other = story.successor()
        assert "is being written by process" in other.refused(story.follow, "Leased")
        other.finish(story.taking_over)
        other.check(story.topic.model)
        process.send_signal(signal.SIGCONT)
        assert process.wait(60) == 1
    assert "was taken over by process" in (tmp_path / "log").read_text()
    other.check(story.topic.model)
    story.goes_on()


@long
@fault(CLOCK)
def test_a_clock_set_back(tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    """Records whose producer's clock went back get the partition's clock, also after a restart and a loss."""
    story = RunStory(tmp_path, forks, broker, 87)
    for days, point in ((0, "between-commits"), (400, "after-file-list"), (30, "after-last-commit:2")):
        stream = random_stream(870 + days, 15, entry=story.topic.entry)
        back = [replace(r, timestamp=r.timestamp - days * 86_400_000_000) for r in stream.records]
        story.topic.add(numbered(back, PARTITIONS))
        story.kill(point)
    story.lose_state()
    story.ends_well()


HUGE = b"x" * (100 << 10)
POISONS = {
    "value": Record(b'{"isin": "A", "at', 0),
    "bytes": Record(b"\xff\x00{", 0, b"A"),
    "empty": Record(b"", 0, b"A"),
    "huge value": Record(b'{"isin": "A", "at": "2024-01-01", "size": "' + HUGE + b'"}', 0),
    "huge key": Record(None, 0, b"\xff" + HUGE),
    "key": Record(None, 0, b"\xff\xfe"),
    "tombstone without a key": Record(None, 0),
    "deep": Record(b'{"isin": "A", "at": "2024-01-01", "deep": ' + b"[" * 5000 + b"]" * 5000 + b"}", 0),
}


@long
@fault(POISON)
def test_poison_in_each_place(tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    """In the middle of batches, with headers that are no text either; a run that is killed meets it again."""
    story = RunStory(tmp_path, forks, broker, 88)
    for number, poison in enumerate(POISONS.values()):
        some = numbered(random_stream(880 + number, 6, entry=story.topic.entry).records, PARTITIONS)
        bad = replace(poison, timestamp=some[0].timestamp, partition=number % PARTITIONS)
        story.topic.add([*some[:3], bad, *some[3:]], [("trace", b"\xff\xfe"), ("none", b"")])
    dead = {(letter.partition, letter.offset) for letter in story.topic.model.dead}
    assert len(dead) >= len(POISONS)
    story.kill("after-data-file:2", "between-commits:2").proceeds()
