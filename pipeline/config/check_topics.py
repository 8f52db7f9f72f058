"""Checks of topics: dead letters must not come round again."""

from pipeline.config.document import Document
from pipeline.config.models import LakeConfig


def check_dead_letter_topic(config: LakeConfig, document: Document) -> None:
    """Add what is wrong with the topic of dead letters to the document's mistakes."""
    pattern, path = config.dead_letters.topic, ("dead_letters", "topic")
    if pattern is None:
        return
    if not config.kafka:
        document.report(
            path, "a Kafka topic is named, but no Kafka", "add a `kafka` section, or leave it out"
        )
    read = {dataset.topic for dataset in config.datasets}
    for dataset in config.datasets:
        topic = config.dead_letters.topic_of(dataset)
        if topic in read:
            message = f"the dead letters of '{dataset.name}' would go to '{topic}', which a dataset reads"
            document.report(path, message, 'name another topic, such as "{topic}.dlq"')
            return
