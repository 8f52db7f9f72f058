"""Secrets are in no message, repr or traceback."""

import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import ConfigErrors, parse_config, redacted
from pipeline.config.secrets import HIDDEN, is_secret

SECRET_NAMES = [
    "password", "sasl.password", "s3.secret-access-key", "s3.access-key-id", "token", "credential", "sasl.jaas.config",
    "ssl.key.password", "adls.account-key", "adls.sas-token", "adls.connection-string", "api_key", "client_secret",
    "header.Authorization", "ssl.keystore.key", "gcs.oauth2.token", "passwd", "PWD", "fs.s3a.secret.key",
]  # fmt: skip
PLAIN_NAMES = [
    "uri", "warehouse", "name", "type", "bootstrap.servers", "group.id", "s3.endpoint", "s3.region", "security.protocol",
    "sasl.username", "parallelism", "monkey",
]  # fmt: skip
DATASET = "datasets: [{name: a, table: n.a, key: k, valid_from: d}]\n"


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_names_of_other_settings(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://u:hunter2@h/db", "postgresql://***@h/db"),
        ("postgresql://u:hun/t@r2@h/db", "postgresql://***@h/db"),
        (
            "postgresql://h/db?user=u&password=hunter2&sslmode=off",
            "postgresql://h/db?user=u&password=***&sslmode=off",
        ),
        (
            'org.x.Module required username="u" password="hunter2";',
            'org.x.Module required username="u" password=***;',
        ),
        ("s3://bucket/a", "s3://bucket/a"),
    ],
)
def test_secrets_inside_values(uri: str, shown: str) -> None:
    assert redacted(uri) == shown
    assert redacted({"a": [uri]}) == {"a": [shown]}


def test_the_configuration_gives_secrets_on_but_does_not_print_them() -> None:
    text = "catalog: {uri: 'postgresql://u:hunter2@h/d', auth: {token: hunter2}}\nkafka: {sasl.password: hunter2}\n"
    config = parse_config(text + "flink: {s3.secret-key: hunter2}\n" + DATASET, base=Path("/"), environ={})
    assert config.kafka["sasl.password"] == "hunter2"
    for shown in (repr(config), str(config), repr(config.catalog), f"{config.kafka}", repr(config.flink)):
        assert "hunter2" not in shown
    assert HIDDEN in repr(config)


secret = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=12).map(
    "hunter2".__add__
)
lines = st.sampled_from(
    [
        "catalog:\n  password: {}\n  : x\n",
        "catalog:\n  token: {}\nkafka: [1\n",
        "catalog:\n  password: {}\n   uri: x\n",
        "kafka:\n  sasl.password: {}\ncommit: {{records: 0}}\n",
        "catalog: {}\n",
        "kafka: {}\n",
        "flink: {}\n",
        "catalog: [{}]\n",
        "commit:\n  password: {}\n",
        "commit: {}\n",
        "dead_letters: {{topic: [{}]}}\n",
        "state: [{}]\n",
        "state: {{password: {}}}\n",
        "password: {}\n",
        "datasets:\n  - name: a\n    password: {}\n",
        "datasets:\n  - password: [{}]\n",
        "catalog:\n  uri: postgresql://u:{}@h/d\nkafak: 1\n",
        "catalog:\n  uri: postgresql://u:{}@h/d\nkafka: *x\n",
    ]
)
quoting = st.sampled_from(
    ["{}", "'{}'", '"{}"', "*{}", "&{} x", "!{} x", "|\n  {}", "%{}", "@{}", "`{}", "[{}"]
)


@given(lines, quoting, secret)
def test_no_error_tells_a_secret(line: str, quotes: str, value: str) -> None:
    text = line.format(quotes.format(value))
    for environ in ({}, {"BITLAKE__KAFKA__SASL_PASSWORD": value, "BITLAKE__PASSWORD": value}):
        with pytest.raises(ConfigErrors) as caught:
            parse_config(text, base=Path("/"), environ=environ)
        told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.mistakes)
        assert "hunter2" not in told
