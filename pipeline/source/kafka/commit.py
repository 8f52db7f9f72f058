"""Offsets for others to see: in a consumer group, as lag monitors and `kafka-consumer-groups` know them.

Nothing is read from there again: the tables hold the offsets that count.
"""

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from kafka.protocol.consumer.group import OffsetCommitRequest
from kafka.protocol.metadata import FindCoordinatorRequest

from pipeline.errors import BitlakeError
from pipeline.source.kafka.cluster import Cluster
from pipeline.source.kafka.connection import ConnectionLost, problem
from pipeline.source.kafka.properties import ClientSettings

log = logging.getLogger(__name__)

_FIND, _COMMIT = 3, 8
_SHORT_PAUSE, _PAUSE, _PAUSE_MAX = 0.1, 1.0, 60.0
_CLOSING_SECONDS = 2.0
_TOLD_AFTER = 3


class Showcase:
    """Shows the newest offsets of topics in the group that the settings name, when the brokers find time.

    A thread and connections of its own: whatever becomes of it, reading and committing go on.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._group, self._cluster = settings.group, Cluster(settings)
        self._changed, self._failures = threading.Condition(), 0
        self._end: float | None = None
        self._newest: dict[str, Mapping[int, int]] = {}
        self._thread = threading.Thread(target=self._run, name="kafka-group", daemon=True)
        self._thread.start()

    def show(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Have the next offsets of partitions shown soon, unless newer ones come before; does not wait."""
        with self._changed:
            self._newest[topic] = offsets
            self._changed.notify_all()

    def close(self) -> None:
        """Show what is left, but not for long."""
        with self._changed:
            self._end = time.monotonic() + _CLOSING_SECONDS
            self._changed.notify_all()
        self._thread.join(_CLOSING_SECONDS)
        self._cluster.close()

    def _run(self) -> None:
        pause = _PAUSE
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._end or self._newest)
                newest, self._newest = self._newest, {}
            left = {topic: offsets for topic, offsets in newest.items() if not self._shown(topic, offsets)}
            with self._changed:
                self._newest = left | self._newest
                if self._end is not None and (not self._newest or time.monotonic() > self._end):
                    return
                if left and self._end is None:
                    self._changed.wait_for(lambda: self._end, pause)
                elif left:
                    self._changed.wait(_SHORT_PAUSE)
            pause = min(2 * pause, _PAUSE_MAX) if left else _PAUSE

    def _shown(self, topic: str, offsets: Mapping[int, int]) -> bool:
        try:
            commit_offsets(self._cluster, self._group, topic, offsets)
        except (ConnectionLost, BitlakeError) as error:
            # A group's coordinator is found a moment after it is first asked for.
            self._failures += 1
            log.log(
                logging.WARNING if self._failures == _TOLD_AFTER else logging.INFO,
                "the consumer group %s does not show how far %s is read: %s",
                *(self._group, topic, error),
            )
            return False
        self._failures = 0
        return True


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
