package bitlake;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.function.IntPredicate;
import org.apache.flink.api.common.TaskInfo;
import org.apache.flink.api.common.TaskInfoImpl;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.types.Row;
import org.apache.flink.util.InstantiationUtil;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class KeysTest {
  private static final int MOST = 128;

  static TaskInfo task(int most, int subtask, int subtasks) {
    return new TaskInfoImpl("task", most, subtask, subtasks, 0);
  }

  /** The subtask that Flink sends a key's records to. */
  private static int receiver(int key, int most, int subtasks) {
    return KeyGroupRangeAssignment.assignKeyToParallelOperator(Row.of(key), most, subtasks);
  }

  private static byte[] record(int partition) {
    return ByteBuffer.allocate(8).putInt(partition).array();
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 7, 8, 128, 720, 4096})
  void eachGroupHasAKeyThatFlinkAssignsToIt(int most) {
    int[] keys = Keys.byGroup(most);
    assertEquals(most, keys.length);
    for (int group = 0; group < most; group++) {
      assertEquals(group, KeyGroupRangeAssignment.assignToKeyGroup(Row.of(keys[group]), most));
    }
  }

  @Test
  void keysAreSoSmallThatFramesBeginWithAZero() {
    for (int key : Keys.byGroup(32_768)) {
      assertTrue(key >= 0 && key < 1 << 24, "key " + key);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 7, 128})
  void subtasksShareAllGroups(int subtasks) {
    Set<Integer> met = new HashSet<>();
    int[] keys = Keys.byGroup(MOST);
    for (int subtask = 0; subtask < subtasks; subtask++) {
      for (int group : Keys.range(MOST, task(MOST, subtask, subtasks))) {
        assertTrue(met.add(group), "two subtasks have group " + group);
        assertEquals(subtask, receiver(keys[group], MOST, subtasks));
      }
    }
    assertEquals(MOST, met.size());
  }

  @Test
  void framesAndRowsAreSentByTheKeyThatTheyBeginWith() throws Exception {
    byte[] frame = ByteBuffer.allocate(12).putInt(70_000).putLong(-1).array();
    assertEquals(Row.of(70_000), new Keys.OfFrame().getKey(frame));
    assertEquals(Row.of(70_000), new Keys.OfRow().getKey(Row.of(70_000, frame)));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 5, 128, 1000})
  void aPartitionsOwnerIsWhereItsRecordsGo(int partitions) {
    for (int subtasks : new int[] {1, 2, 3, 64}) {
      Keys.OfPartition keys = new Keys.OfPartition(MOST, "bonds");
      for (int subtask = 0; subtask < subtasks; subtask++) {
        IntPredicate own = keys.ownedBy(task(MOST, subtask, subtasks));
        for (int partition = 0; partition < partitions; partition++) {
          int key = (Integer) keys.getKey(record(partition)).getField(0);
          assertEquals(receiver(key, MOST, subtasks) == subtask, own.test(partition));
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"bonds", "", "calls.schedule-v2", "a", "polygenelubricants"})
  void partitionsHaveKeysOfTheirOwnInWhateverOrderTheyAreMet(String topic) {
    Keys.OfPartition rising = new Keys.OfPartition(8, topic), falling = new Keys.OfPartition(8, topic);
    Map<Integer, Integer> byKey = new HashMap<>();
    int[] found = new int[500];
    for (int partition = 499; partition >= 0; partition--) {
      found[partition] = falling.keyOf(partition);
    }
    for (int partition = 0; partition < 500; partition++) {
      assertEquals(found[partition], rising.keyOf(partition), "partition " + partition);
      Integer other = byKey.put(found[partition], partition);
      assertEquals(null, other, "partitions of one key: " + partition);
    }
  }

  @Test
  void aKeySelectorIsTheSameAfterItsWayToATask() throws Exception {
    Keys.OfPartition keys = new Keys.OfPartition(MOST, "bonds");
    int before = keys.keyOf(17);
    Keys.OfPartition sent = InstantiationUtil.clone(keys);
    assertEquals(before, sent.keyOf(17));
    assertEquals(keys.keyOf(300), sent.keyOf(300));
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 4, 8, 12})
  void partitionsAreSpreadEvenly(int subtasks) {
    for (String topic : new String[] {"bonds", "calls", "prices.eu", "x"}) {
      Keys.OfPartition keys = new Keys.OfPartition(MOST, topic);
      int[] counts = new int[subtasks];
      for (int partition = 0; partition < 3 * subtasks; partition++) {
        counts[receiver(keys.keyOf(partition), MOST, subtasks)]++;
      }
      for (int count : counts) {
        assertTrue(count >= 1 && count <= 6, topic + ": a subtask of " + subtasks + " has " + count);
      }
    }
  }
}
