"""What the source does not do, and what a person can do about it."""

from pipeline.errors import BadConfiguration, BadInput, Refused


def no_such_topic(topic: str) -> BadConfiguration:
    """There is no such topic."""
    return BadConfiguration(
        f"there is no topic {topic}, or this user may not see it",
        next_step="check `topic` in lake.yaml (the dataset's name by default), or create it:"
        f" `kafka-topics --create --topic {topic} ...`",
    )


def no_access(topic: str) -> BadConfiguration:
    """We may not read a topic."""
    return BadConfiguration(
        f"this user may not read the topic {topic}",
        next_step="give it READ and DESCRIBE on the topic (`kafka-acls --add --operation Read ...`)",
    )


def deleted(topic: str) -> Refused:
    """A topic is gone while it is read."""
    return Refused(
        f"the topic {topic} was deleted",
        next_step="restore it, or take the dataset out of lake.yaml",
    )


def another_topic(name: str) -> Refused:
    """A topic by its name is not the one that was read."""
    return Refused(
        f"the topic {name} was deleted and made anew: the offsets read so far are of another topic",
        next_step="restore it, or give the dataset a new topic and a new table, since offsets begin anew",
    )


def missing_partition(topic: str, partition: int) -> Refused:
    """A partition that was read is gone."""
    return Refused(
        f"partition {partition} of {topic} was read before and is no longer there: the topic was deleted and"
        " made anew",
        next_step="restore the topic, or give the dataset a new topic and a new table",
    )


def offset_gone(topic: str, partition: int, offset: int, earliest: int, latest: int) -> Refused:
    """The refusal to go on from an offset that is not in a topic."""
    where = f"offset {offset} of {topic}-{partition}, where the last epoch ended"
    if offset < earliest:
        return Refused(
            f"{where}, is no longer in the topic, which now begins at {earliest}: retention has deleted"
            f" {earliest - offset} offsets that were never read",
            next_step="restore the topic, or accept the loss by giving the dataset a new topic or table;"
            " and raise `retention.ms` above the longest time that bitlake may stand still",
        )
    return Refused(
        f"{where}, is not in the topic, which ends at {latest}: it was made anew, or lost its end",
        next_step="restore the topic; if it is a new one, give the dataset a new table: offsets begin anew",
    )


def broken_batch(where: str, reason: str) -> BadInput:
    """A record batch stays broken."""
    return BadInput(
        f"the record batch of {where} is broken: {reason}",
        next_step="restore it on the broker from another replica; bitlake reads on from there",
    )
