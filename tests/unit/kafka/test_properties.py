"""Client properties by Kafka's names."""

import pytest

from pipeline.errors import BadConfiguration
from pipeline.source.kafka.properties import client_settings

PLAIN = {"bootstrap.servers": "one:9092, [::1]:9093,two.example.org:1"}
LOGIN = (
    'org.apache.kafka.common.security.scram.ScramLoginModule required username="a\\"b" password="c\\\\d;=e";'
)
SCRAM = PLAIN | {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-512"}
TLS = PLAIN | {"security.protocol": "SSL"}
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"


def test_defaults():
    settings = client_settings(PLAIN)
    assert settings.bootstrap == (("one", 9092), ("::1", 9093), ("two.example.org", 1))
    assert settings.read_committed
    assert settings.reset == "earliest"
    assert (settings.tls, settings.sasl) == (None, None)
    assert (settings.fetch_max_bytes, settings.partition_max_bytes) == (50 << 20, 1 << 20)


def test_values_of_kafka_and_of_librdkafka():
    settings = client_settings(
        {
            "metadata.broker.list": "h:1",
            "isolation.level": "read_uncommitted",
            "auto.offset.reset": "largest",
            "fetch.wait.max.ms": 20,
            "fetch.message.max.bytes": "1000",
            "client.id": "me",
            "client.rack": "r1",
            "request.timeout.ms": 1500,
            "group.id": None,
        }
    )
    assert not settings.read_committed
    assert (settings.reset, settings.fetch_max_wait, settings.partition_max_bytes) == ("latest", 0.02, 1000)
    assert (settings.client_id, settings.rack, settings.request_timeout) == ("me", "r1", 1.5)


def test_jaas_and_its_escapes():
    sasl = client_settings(SCRAM | {"sasl.jaas.config": LOGIN}).sasl
    assert sasl is not None
    assert (sasl.mechanism, sasl.username, sasl.password) == ("SCRAM-SHA-512", 'a"b', "c\\d;=e")
    assert "c\\d" not in repr(sasl)


def test_user_and_password_of_librdkafka():
    given = SCRAM | {"sasl.username": "u", "sasl.password": "p", "sasl.mechanisms": "PLAIN"}
    del given["sasl.mechanism"]
    sasl = client_settings(given).sasl
    assert sasl is not None
    assert (sasl.mechanism, sasl.username, sasl.password) == ("PLAIN", "u", "p")


def test_names_of_files_start_at_the_base(tmp_path):
    (tmp_path / "ca.pem").write_text(f"Bag Attributes: \u00e9\n{PEM}\n", encoding="latin-1")
    for name in ("ssl.truststore.location", "ssl.ca.location"):
        tls = client_settings(
            TLS | {name: "ca.pem", "ssl.endpoint.identification.algorithm": ""}, tmp_path
        ).tls
        assert tls is not None
        assert (tls.trusted, tls.names) == (PEM, False)


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({}, "bootstrap.servers is missing"),
        ({"bootstrap.servers": "host"}, "not a host and a port"),
        ({"bootstrap.servers": "host:0"}, "not a host and a port"),
        (PLAIN | {"fetch.max.byte": "1"}, "did you mean fetch.max.bytes"),
        (PLAIN | {"key.deserializer": "x"}, "has no meaning here"),
        (PLAIN | {"enable.auto.commit": True}, "has no meaning here"),
        (PLAIN | {"metadata.broker.list": "h:1"}, "both given"),
        (PLAIN | {"fetch.max.bytes": "many"}, "whole number"),
        (PLAIN | {"fetch.max.bytes": 0}, "whole number from 1"),
        (PLAIN | {"isolation.level": "serializable"}, "read_committed, read_uncommitted"),
        (PLAIN | {"security.protocol": "TLS"}, "PLAINTEXT, SSL"),
        (PLAIN | {"sasl.username": "u"}, "security.protocol is PLAINTEXT"),
        (PLAIN | {"ssl.ca.location": "x.pem"}, "set security.protocol: SSL or SASL_SSL"),
        (SCRAM, "needs a user and a password"),
        (SCRAM | {"sasl.jaas.config": LOGIN.replace("scram.Scram", "plain.Plain")}, "can't be read"),
        (SCRAM | {"sasl.jaas.config": LOGIN.replace("required", "")}, "can't be read"),
        (SCRAM | {"sasl.jaas.config": LOGIN.replace('" password', " password")}, "can't be read"),
        (SCRAM | {"sasl.mechanism": "GSSAPI"}, "GSSAPI is not supported"),
        (PLAIN | {"security.protocol": "SASL_SSL"}, "sasl.mechanism is missing"),
        (TLS | {"ssl.truststore.location": "nowhere.pem"}, "No such file"),
        (TLS | {"ssl.truststore.location": "x.jks", "ssl.truststore.type": "JKS"}, "keytool -importkeystore"),
        (TLS | {"ssl.keystore.location": "x.p12", "ssl.keystore.type": "PKCS12"}, "openssl pkcs12"),
        (TLS | {"ssl.keystore.certificate.chain": PEM}, "only one is given"),
        (TLS | {"ssl.enabled.protocols": "SSLv3"}, "TLSv1.2"),
        (TLS | {"ssl.endpoint.identification.algorithm": "ldaps"}, "it is https"),
    ],
)
def test_mistakes_are_told(properties, message):
    with pytest.raises(BadConfiguration) as caught:
        client_settings(properties)
    assert message in str(caught.value)


def test_a_binary_store_is_told_with_how_to_convert_it(tmp_path):
    (tmp_path / "trust.jks").write_bytes(b"\xfe\xed\xfe\xed\0\0\0\2")
    with pytest.raises(BadConfiguration, match="-nokeys -out truststore.pem"):
        client_settings(TLS | {"ssl.truststore.location": "trust.jks"}, tmp_path)


def test_certificates_that_are_none_are_told():
    tls = client_settings(TLS | {"ssl.truststore.certificates": PEM}).tls
    assert tls is not None
    with pytest.raises(BadConfiguration, match="trusted certificates can't be read"):
        tls.context()
