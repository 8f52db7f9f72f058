"""`config check`, `config schema`, `init` and `infer` as a user types them."""

import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
from ruamel.yaml import YAML
from typer.testing import CliRunner

from pipeline.cli.config_commands import config_app, infer, init
from pipeline.config import ConfigErrors, load_config
from pipeline.config.template import TEMPLATE
from pipeline.errors import BadConfiguration, BadInput

app = typer.Typer()
app.add_typer(config_app, name="config")
app.command()(init)
app.command()(infer)
RECORD = {"isin": "XS1", "from": "2024-01-01", "coupon": 4.25}


def run(*args: str, stdin: str | None = None) -> str:
    result = CliRunner().invoke(app, args, input=stdin, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def schema() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(run("config", "schema"))
    return parsed


def test_init_then_check() -> None:
    run("init")
    shown = run("config", "check")
    assert "lake.yaml has no mistakes." in shown
    assert "table ref.bonds__calls: key isin, call_date; 1 more declared column\n" in shown


def test_init_keeps_what_is_there(folder: Path) -> None:
    (folder / "lake.yaml").write_text("mine")
    with pytest.raises(BadInput, match="exists already") as caught:
        run("init")
    assert "--force" in str(caught.value)
    assert (folder / "lake.yaml").read_text() == "mine"
    run("init", "--force")
    assert (folder / "lake.yaml").read_text() == TEMPLATE


def test_check_raises_every_mistake(folder: Path) -> None:
    (folder / "my.yaml").write_text("datasets: []\nstat: x\n")
    with pytest.raises(ConfigErrors) as caught:
        run("config", "check", "-c", "my.yaml")
    assert [m.line for m in caught.value.mistakes] == [1, 2]


def test_check_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    run("init")
    monkeypatch.setenv("BITLAKE__DATASETS__0__TABLE", "other.table")
    assert "table other.table:" in run("config", "check")


TLS = {"bootstrap.servers": "nowhere.invalid:9092", "security.protocol": "SSL"}
SASL = TLS | {"security.protocol": "SASL_PLAINTEXT", "sasl.username": "u", "sasl.password": "p"}
NOT_A_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        (TLS | {"ssl.truststore.locaton": "ca.pem"}, "did you mean ssl.truststore.location?"),
        (TLS | {"ssl.truststore.type": "JKS", "ssl.truststore.location": "ca.jks"}, "is JKS"),
        (TLS | {"ssl.truststore.location": "ca.pem"}, "ca.pem can't be read: No such file"),
        (TLS | {"ssl.truststore.certificates": NOT_A_CERTIFICATE}, "trusted certificates can't be read"),
        (SASL | {"sasl.mechanism": "GSSAPI"}, "GSSAPI is not supported"),
    ],
)
def test_check_reads_the_properties_of_kafka(folder: Path, properties: dict[str, str], message: str) -> None:
    lake = YAML(typ="safe").load(TEMPLATE) | {"kafka": properties}
    (folder / "lake.yaml").write_text(json.dumps(lake))
    with pytest.raises(BadConfiguration) as caught:
        run("config", "check")
    assert message in str(caught.value)


def test_check_asks_no_broker(folder: Path) -> None:
    lake = YAML(typ="safe").load(TEMPLATE) | {"kafka": SASL | {"sasl.mechanism": "PLAIN"}}
    (folder / "lake.yaml").write_text(json.dumps(lake))
    assert "no mistakes" in run("config", "check")


def test_infer_prints_or_writes(folder: Path) -> None:
    (folder / "bonds.jsonl").write_text(json.dumps(RECORD))
    printed = run("infer", "bonds.jsonl")
    run("infer", "bonds.jsonl", "-o", "lake.yaml")
    assert (folder / "lake.yaml").read_text() == printed
    assert load_config("lake.yaml", {}).dataset("bonds").valid_from == ("from",)
    with pytest.raises(BadInput, match="exists already"):
        run("infer", "bonds.jsonl", "-o", "lake.yaml")


def test_infer_from_standard_input_with_a_name() -> None:
    printed = run("infer", "-", "--name", "mine", "--only-dataset", stdin=json.dumps(RECORD))
    assert printed.startswith("  - name: mine\n")


def test_infer_says_what_would_be_refused_and_what_is_dropped(folder: Path) -> None:
    nanoseconds = "2024-01-01T00:00:00.123456789Z"
    records = [{"isin": isin, "from": nanoseconds} for isin in ("A", "B", None, "D", "E")]
    (folder / "b.jsonl").write_text("\n".join(map(json.dumps, records)))
    result = CliRunner().invoke(app, ["infer", "b.jsonl"], catch_exceptions=False)
    told = "1 of 5 lines would become a dead letter: b.isin: a key column is missing or null"
    assert f"Note: {told}\n" in result.stderr
    assert f"  # {told}\n" in result.stdout
    assert "Note: valid times are more precise than a microsecond: 5 of 5 in 'from'" in result.stderr
    assert "time_precision: truncate" in result.stdout


def test_the_schema_accepts_what_is_valid(folder: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    (folder / "b.jsonl").write_text(json.dumps(RECORD))
    for text in (TEMPLATE, run("infer", "b.jsonl")):
        jsonschema.validate(YAML(typ="safe").load(io.StringIO(text)), schema())


@pytest.mark.parametrize(
    "wrong", [{"stat": "x"}, {"datasets": [{"name": "a"}]}, {"commit": {"records": "x"}}, {"datasets": []}]
)
def test_the_schema_refuses_what_is_not(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema())
