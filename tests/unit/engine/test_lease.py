"""The lease that keeps a second writer away."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import Lake
from pipeline.config import dataset_schema
from pipeline.sink.catalog import open_catalog
from pipeline.sink.holder import has_ended, this_process
from pipeline.sink.lake_sink import LakeSink
from pipeline.sink.lease import Lease, Leased, Tenant
from tests import lakes

LAKE = """
datasets:
  - {name: bonds, table: ref.bonds, key: [isin], valid_from: from}
"""
RECORD = {"isin": "A", "from": "2024-01-01"}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    (tmp_path / "lake.yaml").write_text(LAKE)
    lake = Lake.open(tmp_path / "lake.yaml", {})
    lake.load("bonds", [RECORD])
    return lake


def held(lake: Lake) -> Lease | None:
    return Lease.of(open_catalog(lake.config.catalog).load_table("ref.bonds").properties)


def writer(lake: Lake, tenant: Tenant) -> LakeSink:
    sink = LakeSink.at(lake.config.catalog, "bitlake.dead_letters")
    schema = sink.open(dataset_schema(lake.config.datasets[0]), mode="append", partition_by=[])
    sink.claim(schema, tenant)
    return sink


def test_a_second_writer_is_refused_until_the_first_lets_go(lake: Lake) -> None:
    first = writer(lake, Tenant("another", "process 7 on elsewhere", 600))
    with pytest.raises(Leased, match=r"process 7 on elsewhere since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"):
        lake.load("bonds", [RECORD])
    first.end_claims()
    assert lake.load("bonds", [RECORD]).no_ops == 1


def test_a_lease_ends_by_itself(lake: Lake) -> None:
    writer(lake, Tenant("another", "elsewhere", 0))
    assert lake.load("bonds", [RECORD]).no_ops == 1


def test_an_epoch_renews_it(lake: Lake) -> None:
    left = held(lake)
    assert left is not None, "a load has a lease, too"
    assert left.until == 0
    sink = writer(lake, Tenant("me", "here", 100))
    schema = sink.open(dataset_schema(lake.config.datasets[0]), mode="append", partition_by=[])
    first, position = held(lake), sink.positions(schema)["ref.bonds"]
    assert position is not None
    sink.commit(sink.write(lakes.epoch(schema, position.epoch + 1)))
    second = held(lake)
    assert first is not None
    assert second is not None
    assert second.until > first.until


def test_who_took_over_is_not_ended_by_the_one_before(lake: Lake) -> None:
    first = writer(lake, Tenant("one", "here", 600))
    writer(lake, Tenant("two", "there", 600))
    first.end_claims()
    lease = held(lake)
    assert lease is not None
    assert (lease.owner, lease.until > 0) == ("two", True)


@pytest.mark.parametrize("how", ["ended", "not waited for"])
def test_a_process_that_has_died_here_holds_nothing(lake: Lake, how: str) -> None:
    command = "from pipeline.sink.holder import this_process as it; print(it(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        name = process.stdout.readline().strip()
        writer(lake, Tenant("another", "process 7 here", 600, name))
        with pytest.raises(Leased, match="process 7 here"):
            lake.load("bonds", [RECORD])
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        if how == "ended":
            process.wait(60)
        assert lake.load("bonds", [RECORD]).no_ops == 1


def test_a_process_of_another_place_is_not_known_to_have_ended() -> None:
    place, _, _ = this_process().rpartition("/")
    assert not has_ended(this_process())
    assert has_ended(f"{place}/{os.getpid()}-1"), "its id is another's now"
    assert not has_ended(f"another-{place}/{os.getpid()}-1")
    assert not has_ended("")
