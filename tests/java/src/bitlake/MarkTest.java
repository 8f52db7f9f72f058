package bitlake;

import static bitlake.Operators.frame;
import static bitlake.Operators.key;
import static bitlake.Operators.taken;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.flink.api.common.typeutils.base.array.BytePrimitiveArraySerializer;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.streaming.util.OneInputStreamOperatorTestHarness;
import org.apache.flink.types.Row;
import org.apache.flink.util.InstantiationUtil;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MarkTest {
  private static final int MOST = 8;

  private static OneInputStreamOperatorTestHarness<byte[], Row> harness(int subtask, int subtasks) throws Exception {
    Mark sent = InstantiationUtil.clone(new Mark(MOST, null));
    var harness =
        new OneInputStreamOperatorTestHarness<>(
            sent, MOST, subtasks, subtask, BytePrimitiveArraySerializer.INSTANCE, new org.apache.flink.runtime.jobgraph.OperatorID());
    harness.open();
    return harness;
  }

  private static byte[] changes(int key) {
    return ByteBuffer.allocate(30).putInt(key).putLong(7).array();
  }

  private static void assertMarksOfAll(List<Row> rows, Set<Integer> groups, long checkpoint) {
    Set<Integer> found = new TreeSet<>();
    for (Row row : rows) {
      ByteBuffer mark = ByteBuffer.wrap(frame(row));
      assertEquals(16, mark.capacity());
      assertEquals(-1, mark.getInt());
      int group = mark.getInt();
      assertEquals(checkpoint, mark.getLong());
      assertEquals(group, KeyGroupRangeAssignment.assignToKeyGroup(Row.of(key(row)), MOST));
      found.add(group);
    }
    assertEquals(groups, found);
    assertEquals(groups.size(), rows.size());
  }

  @Test
  void aFrameGoesOnWithTheKeyThatItBeginsWith() throws Exception {
    try (var harness = harness(0, 1)) {
      harness.processElement(changes(70_000), 0);
      List<Row> rows = taken(harness);
      assertEquals(1, rows.size());
      assertEquals(70_000, key(rows.get(0)));
      assertArrayEquals(changes(70_000), frame(rows.get(0)));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2})
  void beforeABarrierEachGroupOfTheSubtaskIsMarkedAndNoOther(int subtask) throws Exception {
    List<Set<Integer>> groups = List.of(Set.of(0, 1, 2), Set.of(3, 4, 5), Set.of(6, 7));
    try (var harness = harness(subtask, 3)) {
      harness.processElement(changes(1), 0);
      harness.prepareSnapshotPreBarrier(42);
      List<Row> rows = taken(harness);
      assertArrayEquals(changes(1), frame(rows.get(0)), "the frame comes before the marks");
      assertMarksOfAll(rows.subList(1, rows.size()), groups.get(subtask), 42);
    }
  }

  @Test
  void theEndOfTheInputIsMarkedOnceAndFinalCheckpointsAreNot() throws Exception {
    try (var harness = harness(2, 3)) {
      harness.prepareSnapshotPreBarrier(1);
      taken(harness);
      harness.endInput();
      assertMarksOfAll(taken(harness), Set.of(6, 7), Mark.END);
      harness.prepareSnapshotPreBarrier(2);
      assertEquals(List.of(), taken(harness));
    }
  }
}
