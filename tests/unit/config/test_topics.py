"""Dead letters must not come round again."""

from pathlib import Path

import pytest

from pipeline.config.load import ConfigErrors, parse_config

DATASETS = "datasets:\n- {name: bonds, table: ref.bonds, key: isin, valid_from: day}\n"
KAFKA = "kafka: {bootstrap.servers: 'localhost:9092'}\n"


def parse(text: str):
    return parse_config(text + DATASETS, base=Path("/lake"), environ={})


def test_a_topic_of_its_own_is_fine():
    assert parse(KAFKA + "dead_letters: {topic: '{topic}.dlq'}\n").dead_letters.topic == "{topic}.dlq"


@pytest.mark.parametrize("topic", ["bonds", "{topic}"])
def test_a_topic_that_is_read_is_a_mistake(topic: str):
    with pytest.raises(ConfigErrors, match="lake.yaml:2.*'bonds' would go to 'bonds', which a dataset reads"):
        parse(KAFKA + f"dead_letters: {{topic: '{topic}'}}\n")


def test_a_topic_without_kafka_is_a_mistake():
    with pytest.raises(ConfigErrors, match="no Kafka"):
        parse("dead_letters: {topic: '{topic}.dlq'}\n")


@pytest.mark.parametrize("topic", ["a b", "..", "x" * 250, "a/b"])
def test_what_kafka_takes_for_no_topic_is_a_mistake(topic: str):
    text = KAFKA + DATASETS.replace("key: isin", f"key: isin, topic: '{topic}'")
    with pytest.raises(ConfigErrors, match="lake.yaml:3.*can't be a Kafka topic"):
        parse_config(text, base=Path("/lake"), environ={})
