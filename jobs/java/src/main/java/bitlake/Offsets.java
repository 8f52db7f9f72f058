package bitlake;

import java.util.HashMap;
import java.util.Map;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/** Offsets as Kafka's source wants them: py4j turns small numbers into Integers. */
public final class Offsets {
  private Offsets() {}

  public static Map<TopicPartition, Long> of(String topic, Map<? extends Number, ? extends Number> offsets) {
    Map<TopicPartition, Long> found = new HashMap<>();
    offsets.forEach((partition, offset) -> found.put(new TopicPartition(topic, partition.intValue()), offset.longValue()));
    return found;
  }
}
