"""Ports, wishes, and the lake.yaml that a stack writes."""

import socket
from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.errors import BadInput
from stack import lake
from stack.flink import JobManager
from stack.flink_home import FlinkOptions
from stack.kafka import Broker, BrokerOptions
from stack.plan import Catalog, Wanted
from stack.ports import Ports
from stack.postgres import PostgreSQL
from stack.seaweedfs import SeaweedFS
from stack.server import HOST, Server


def _servers(folder: Path, first: int = 1000) -> list[Server]:
    kinds: tuple[type[Server], ...] = (Broker, SeaweedFS, PostgreSQL, JobManager)
    return [
        kind(kind.kind, folder / kind.kind, {name: first + n for n, name in enumerate(kind.own_ports)})
        for kind in kinds
    ]


def test_ports_stay_until_another_program_has_one(tmp_path: Path) -> None:
    names = ("a", "b", "c")
    ports = Ports(tmp_path / "ports.json").of("one", names)
    assert len(set(ports.values())) == 3
    assert Ports(tmp_path / "ports.json").of("one", names) == ports
    with socket.socket() as taken:
        taken.bind((HOST, ports["b"]))
        taken.listen()
        again = Ports(tmp_path / "ports.json").of("one", names)
        assert again["b"] != ports["b"]
        assert (again["a"], again["c"]) == (ports["a"], ports["c"])
        assert Ports(tmp_path / "ports.json").of("one", names, runs=True) == again


def test_what_is_wanted_can_be_written_down() -> None:
    flink = FlinkOptions(3, pinned=True, settings={"a.b": "c"})
    wanted = Wanted(("kafka", "flink"), Catalog.POSTGRES, BrokerOptions("1g", ["-Xlog"]), flink, "3g")
    assert Wanted.read(wanted.written()) == wanted


def test_a_server_that_does_not_exist() -> None:
    with pytest.raises(BadInput, match="nonsense") as caught:
        Wanted(("kafka", "nonsense"))
    assert "seaweedfs" in caught.value.next_step


@pytest.mark.parametrize("catalog", Catalog)
def test_a_new_lake_yaml(tmp_path: Path, catalog: Catalog) -> None:
    file = tmp_path / "lake.yaml"
    assert lake.write(file, lake.sections(_servers(tmp_path), catalog))
    config = load_config(file, {})
    assert config.catalog["type"] == {"rest": "rest", "postgres": "sql"}[catalog]
    assert config.catalog["s3.endpoint"] == "http://127.0.0.1:1003"
    assert config.kafka["bootstrap.servers"] == "127.0.0.1:1000"
    assert config.flink["rest.port"] == 1000
    assert config.flink["execution.checkpointing.dir"] == f"s3://{SeaweedFS.bucket}/flink/checkpoints"
    assert [dataset.name for dataset in config.datasets] == ["bonds"]


def test_a_lake_yaml_follows_its_servers_and_keeps_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "lake.yaml"
    lake.write(file, lake.sections(_servers(tmp_path)))
    text = file.read_text().replace("name: bonds ", "name: loans # mine\n    topic: x #")
    file.write_text(text.replace("flink:\n", "flink:\n  pipeline.name: mine\n"))
    assert lake.write(file, lake.sections(_servers(tmp_path, 2000)))
    assert "# mine" in file.read_text()
    config = load_config(file, {})
    assert config.datasets[0].name == "loans"
    assert config.flink["rest.port"] == 2000
    assert config.flink["pipeline.name"] == "mine"
    assert lake.write(file, lake.sections(_servers(tmp_path, 2000), Catalog.POSTGRES))
    config = load_config(file, {})
    assert "credential" not in config.catalog


def test_a_lake_yaml_that_is_someone_s_own_stays(tmp_path: Path) -> None:
    file = tmp_path / "lake.yaml"
    file.write_text("datasets: []\n")
    assert not lake.write(file, lake.sections(_servers(tmp_path)))
    assert file.read_text() == "datasets: []\n"


def test_checkpoints_without_an_object_store_lie_where_the_cluster_has_them(tmp_path: Path) -> None:
    file = tmp_path / "lake.yaml"
    assert lake.write(file, lake.sections(_servers(tmp_path)[-1:]))
    assert "execution.checkpointing.dir" not in load_config(file, {}).flink


@pytest.mark.parametrize("servers", [0, 1])
def test_a_stack_without_a_catalog_leaves_the_local_one(tmp_path: Path, servers: int) -> None:
    file = tmp_path / "lake.yaml"
    for _ in range(2):
        assert lake.write(file, lake.sections(_servers(tmp_path)[:servers]))
    assert load_config(file, {}).catalog["type"] == "sql"
