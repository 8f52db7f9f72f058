package bitlake;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Map;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.junit.jupiter.api.Test;

class OffsetsTest {
  @Test
  void numbersOfAnySizeAreOffsets() {
    Map<Number, Number> offsets = Map.of(0, 17, 1L, 1L << 40, (short) 2, Long.MAX_VALUE);
    Map<TopicPartition, Long> wanted =
        Map.of(
            new TopicPartition("bonds", 0), 17L,
            new TopicPartition("bonds", 1), 1L << 40,
            new TopicPartition("bonds", 2), Long.MAX_VALUE);
    assertEquals(wanted, Offsets.of("bonds", offsets));
    assertEquals(Map.of(), Offsets.of("bonds", Map.of()));
  }
}
