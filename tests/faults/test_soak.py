"""`bitlake run` on a real broker for ten minutes: nothing grows, and every record is there once.

``BITLAKE_SOAK_SECONDS`` makes it shorter or longer. What was measured is in ``soak.json`` in the test's folder.
"""

import json
import os
import signal
import socket
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.faults.soak import SOAKED, Feed, Growth, Look, look_after, metrics
from tests.faults.topics import NO_LIFTS, Followed, Topic, service
from tests.forks import Forks
from tests.kafka_broker import Kafka, wait_until
from tests.matrix import INVARIANTS, SOAK

pytestmark = [pytest.mark.servers, pytest.mark.long]
SECONDS = float(os.environ.get("BITLAKE_SOAK_SECONDS", "600"))
RATE, LOOK_AFTER = 60, 60
"""Records a second, and after how many seconds others look after the tables."""
TABLES = ("ref.bonds", "ref.bonds__calls", "bitlake.dead_letters")
SETTINGS = {"commit": {"records": 100_000, "seconds": 1}, "state_memory": "64KB", **NO_LIFTS}
POOLED = 8
"""Threads that Arrow's and pyiceberg's pools may still start, as they are needed at the same time."""
MOST_GROWTH, MOST_BYTES = 0.05, 16 << 20
"""Of memory, from the first third to the last: the one and the other."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.fault(SOAK, invariants=[name for name in INVARIANTS if name != "progress resumes"])
@pytest.mark.timeout(3 * SECONDS + 1200)
def test_soak(tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    topic = Topic(broker, 1, SOAKED)
    place = Followed(tmp_path, forks, topic.entry, settings={"kafka": broker.properties, **SETTINGS})
    feed, looks, gone, port = Feed(topic, 1), list[Look](), 0, free_port()
    with service(tmp_path, "--metrics-port", str(port)) as process:
        feed.send(RATE)
        wait_until(lambda: place.read("bonds"), "the first epoch", 300)
        end = time.monotonic() + SECONDS
        while (now := time.monotonic()) < end:
            feed.send(RATE)
            assert process.poll() is None, "it has ended"
            looks.append(Look.at(process.pid))
            scraped = metrics(port)
            if len(looks) % LOOK_AFTER == 0:
                gone += look_after(place.catalog, TABLES)
            wait_until(lambda now=now: time.monotonic() >= now + 1, "a second to pass")
        feed.close()
        topic.model.run(feed.sent)
        wait_until(lambda: place.read("bonds") == len(feed.sent), "all to be committed", 600)
        scraped = metrics(port)
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) == 0, (tmp_path / "log").read_text()
    growth = Growth.of(looks)
    told = {"seconds": SECONDS, "records": len(feed.sent), "looks": len(looks), "expired": gone}
    told |= {"growth": asdict(growth), "metrics": scraped, "all": [asdict(look) for look in looks]}
    (tmp_path / "soak.json").write_text(json.dumps(told))
    place.check(topic.model)
    assert scraped["bitlake_records_total"] == len(feed.sent)
    assert growth.pss[1] <= growth.pss[0] * (1 + MOST_GROWTH) + MOST_BYTES, growth
    assert growth.files[1] <= growth.files[0] + 4, growth
    assert growth.threads[1] <= growth.threads[0] + POOLED, growth
