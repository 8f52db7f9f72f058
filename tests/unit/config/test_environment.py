"""Overrides from the environment."""

from pathlib import Path

import pytest

from pipeline.config import ConfigErrors, LakeConfig, parse_config

TEXT = """\
catalog:
  uri: sqlite:///c.db
  s3.endpoint: http://127.0.0.1:1
kafka:
  bootstrap.servers: 127.0.0.1:9092
datasets:
  - name: bonds
    table: ref.bonds
    key: [isin]
    valid_from: d
    columns: {coupon: long}
  - {name: rates, table: ref.rates, key: ccy, valid_from: d}
"""


def parsed(**environ: str) -> LakeConfig:
    return parse_config(TEXT, base=Path("/lake"), environ=environ)


@pytest.mark.parametrize(
    ("variable", "value", "section", "name"),
    [
        ("BITLAKE__CATALOG__URI", "http://127.0.0.1/rest", "catalog", "uri"),
        ("BITLAKE__CATALOG__S3_ENDPOINT", "http://127.0.0.1:2", "catalog", "s3.endpoint"),
        ("BITLAKE__CATALOG__S3.ENDPOINT", "http://127.0.0.1:2", "catalog", "s3.endpoint"),
        ("BITLAKE__CATALOG__S3_SECRET_ACCESS_KEY", "0123", "catalog", "s3.secret-access-key"),
        ("BITLAKE__CATALOG__TOKEN", "1e5", "catalog", "token"),
        ("BITLAKE__KAFKA__BOOTSTRAP_SERVERS", "a:1,b:2", "kafka", "bootstrap.servers"),
        ("BITLAKE__KAFKA__BOOTSTRAP.SERVERS", "a:1", "kafka", "bootstrap.servers"),
        ("BITLAKE__KAFKA__SASL_PASSWORD", "{*#: yes", "kafka", "sasl.password"),
        ("bitlake__kafka__group.id", "007", "kafka", "group.id"),
    ],
)
def test_settings_of_other_libraries_are_taken_as_text(
    variable: str, value: str, section: str, name: str
) -> None:
    assert getattr(parsed(**{variable: value}), section)[name] == value


def test_typed_settings_are_yaml_scalars() -> None:
    config = parsed(
        BITLAKE__COMMIT__RECORDS="1000",
        BITLAKE__TIME__MAX_AHEAD="5m",
        BITLAKE__DEAD_LETTERS__TOPIC="null",
        BITLAKE__STATE_MEMORY="1GB",
        BITLAKE__FLINK__PARALLELISM="4",
    )
    assert config.commit.records == 1000
    assert config.time.max_ahead_us == 300_000_000
    assert config.dead_letters.topic is None
    assert config.state_memory == 10**9
    assert config.flink == {"parallelism": 4}


def test_datasets_by_number_and_by_name() -> None:
    config = parsed(
        BITLAKE__DATASETS__0__TABLE="x.y",
        BITLAKE__DATASETS__RATES__TABLE="x.z",
        BITLAKE__DATASETS__0__KEY="[isin, coupon]",
        BITLAKE__DATASETS__0__COLUMNS__COUPON="decimal(9,2)",
        BITLAKE__DATASETS__1__CHILDREN__0__PATH="calls",
    )
    assert [dataset.table for dataset in config.datasets] == ["x.y", "x.z"]
    assert config.datasets[0].key == (("isin",), ("coupon",))
    assert str(config.datasets[0].columns["coupon"].type) == "decimal(9,2)"
    assert config.datasets[1].children[0].path == ("calls",)


def test_other_variables_are_left_alone() -> None:
    assert parsed(BITLAKE_HOME="x", PATH="y") == parsed()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("BITLAKE__COMIT__RECORDS", "1", "no setting 'comit'"),
        ("BITLAKE__COMMIT__RECORDS", "x", "'x' is not a whole number"),
        ("BITLAKE__DATASETS__7__TABLE", "a.b", "'7' leads nowhere"),
        ("BITLAKE__DATASETS__NONE__TABLE", "a.b", "'NONE' leads nowhere"),
        ("BITLAKE__STATE__X", "a", "is not the path of a folder"),
        ("BITLAKE__COMMIT__", "a", "names no setting"),
        ("BITLAKE__DATASETS__0__NAME__X", "a", "'X' leads nowhere"),
    ],
)
def test_mistakes_name_the_variable(variable: str, value: str, message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        parsed(**{variable: value})
    (mistake,) = caught.value.mistakes
    assert mistake.variable == variable
    assert message in mistake.message
    assert str(caught.value).splitlines()[1].startswith(f"{variable}: ")


def test_a_file_without_anything_can_be_given_by_the_environment_alone() -> None:
    environ = {f"BITLAKE__DATASETS__0__{k}": v for k, v in (("NAME", "a"), ("TABLE", "n.a"), ("KEY", "k"))}
    config = parse_config(
        "", base=Path("/lake"), environ={**environ, "BITLAKE__DATASETS__0__VALID_FROM": "d"}
    )
    assert config.datasets[0].name == "a"
