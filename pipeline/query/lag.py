"""How far datasets are behind the end of their topics, as the brokers tell at this moment."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.errors import BadConfiguration
from pipeline.query.status import DatasetStatus
from pipeline.source.kafka.cluster import EARLIEST, LATEST, Cluster, Topic
from pipeline.source.kafka.connection import ConnectionLost
from pipeline.source.kafka.properties import client_settings

log = logging.getLogger(__name__)

TIMEOUT = 2.0
"""Seconds for a broker to connect, and to answer."""


def with_lags(
    statuses: Sequence[DatasetStatus], topics: Mapping[str, str], properties: Mapping[str, Any]
) -> list[DatasetStatus]:
    """The statuses with the lag of those datasets that follow a topic; None where the brokers don't tell.

    Args:
        statuses: of datasets.
        topics: by dataset.
        properties: Kafka's client properties.
    """
    following = {s.dataset for s in statuses if s.position is not None and s.position.topic_id is not None}
    if not following:
        return list(statuses)
    settings = client_settings(properties)
    cluster = Cluster(replace(settings, connect_timeout=TIMEOUT, request_timeout=TIMEOUT))
    try:
        known = cluster.topics({topics[name] for name in following})
        return [
            replace(status, lag=_lag(cluster, status, known[topics[status.dataset]]))
            if status.dataset in following
            else status
            for status in statuses
        ]
    except (ConnectionLost, BadConfiguration) as error:
        log.warning("how far the topics reach is not known: %s", error)
        return list(statuses)
    finally:
        cluster.close()


def _lag(cluster: Cluster, status: DatasetStatus, topic: Topic | None) -> dict[int, int] | None:
    position = status.position
    if topic is None or position is None or position.topic_id not in ("", str(topic.identity)):
        log.warning("the topic is not the one that was read", extra={"dataset": status.dataset})
        return None
    new = [partition for partition in topic.leaders if partition not in position.offsets]
    begun = {**(cluster.offsets(topic, new, EARLIEST) if new else {}), **position.offsets}
    ends = cluster.offsets(topic, topic.leaders, LATEST)
    return {partition: max(end - begun[partition], 0) for partition, end in sorted(ends.items())}
