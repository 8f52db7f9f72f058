"""Offsets for others to see: in a consumer group, as lag monitors and `kafka-consumer-groups` know them.

Nothing is read from there again: the tables hold the offsets that count.
"""

from collections.abc import Mapping
from typing import Any

from kafka.protocol.consumer.group import OffsetCommitRequest
from kafka.protocol.metadata import FindCoordinatorRequest

from pipeline.source.kafka.cluster import Cluster
from pipeline.source.kafka.connection import ConnectionLost, problem

_FIND, _COMMIT = 3, 8


def commit_offsets(cluster: Cluster, group: str, topic: str, offsets: Mapping[int, int]) -> None:
    """Commit the next offsets of partitions, as a group without members does.

    Raises:
        ConnectionLost: the group's coordinator did not take them.
        BadConfiguration: the brokers don't let us in.
    """
    coordinator = cluster.ask_any(lambda: FindCoordinatorRequest(key=group, key_type=0), most=_FIND)
    if coordinator.error_code:
        raise ConnectionLost(f"the coordinator of {group}: {problem(coordinator.error_code)}")
    answer = cluster.ask(
        (coordinator.host, coordinator.port), lambda: _request(group, topic, offsets), most=_COMMIT
    )
    codes = {one.error_code for topics in answer.topics for one in topics.partitions} - {0}
    if codes:
        raise ConnectionLost(f"committing offsets to {group}: {', '.join(map(problem, sorted(codes)))}")


def _request(group: str, topic: str, offsets: Mapping[int, int]) -> Any:
    kind = OffsetCommitRequest.OffsetCommitRequestTopic
    partitions = [
        kind.OffsetCommitRequestPartition(
            partition_index=number, committed_offset=offset, committed_metadata=""
        )
        for number, offset in offsets.items()
    ]
    return OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=-1,
        member_id="",
        topics=[kind(name=topic, partitions=partitions)],
    )
