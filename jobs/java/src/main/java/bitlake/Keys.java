package bitlake;

import java.nio.ByteBuffer;
import java.util.function.IntPredicate;
import org.apache.flink.api.common.TaskInfo;
import org.apache.flink.api.java.functions.KeySelector;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.types.Row;

/** Keys by which frames are sent: for each key group one integer that Flink assigns to it. */
public final class Keys {
  private Keys() {}

  /** For each key group, an integer that, as a row of one field, belongs to it. */
  public static int[] byGroup(int maxParallelism) {
    int[] found = new int[maxParallelism];
    java.util.Arrays.fill(found, -1);
    int left = maxParallelism;
    for (int candidate = 0; left > 0; candidate++) {
      int group = KeyGroupRangeAssignment.assignToKeyGroup(Row.of(candidate), maxParallelism);
      if (found[group] < 0) {
        found[group] = candidate;
        left--;
      }
    }
    return found;
  }

  /** The key groups of a subtask. */
  static KeyGroupRange range(int maxParallelism, TaskInfo task) {
    return KeyGroupRangeAssignment.computeKeyGroupRangeForOperatorIndex(
        maxParallelism, task.getNumberOfParallelSubtasks(), task.getIndexOfThisSubtask());
  }

  /** The key that a frame starts with. */
  public static final class OfFrame implements KeySelector<byte[], Row> {
    private static final long serialVersionUID = 1L;

    @Override
    public Row getKey(byte[] frame) {
      return Row.of(ByteBuffer.wrap(frame).getInt());
    }
  }

  /** The key in the first field of a row. */
  public static final class OfRow implements KeySelector<Row, Row> {
    private static final long serialVersionUID = 1L;

    @Override
    public Row getKey(Row row) {
      return Row.of(row.getField(0));
    }
  }

  /**
   * The key of the partition that a record is of: partitions are spread evenly over the key groups.
   *
   * <p>Of n subtasks, Kafka's source has the one of number (hash + partition) mod n read a partition. Where n is 2, its
   * records then stay in that one's process; where it is 4, half of them do.
   */
  public static final class OfPartition implements KeySelector<byte[], Row> {
    private static final long serialVersionUID = 1L;
    private final int[] byGroup;
    private final int first;

    /** By partition. */
    private int[] keys = {};

    /**
     * @param topic the partitions' topic
     */
    public OfPartition(int maxParallelism, String topic) {
      this.byGroup = byGroup(maxParallelism);
      this.first = topic.hashCode() * 31 & Integer.MAX_VALUE;
    }

    @Override
    public Row getKey(byte[] record) {
      return Row.of(keyOf(ByteBuffer.wrap(record).getInt()));
    }

    int keyOf(int partition) {
      if (partition >= keys.length) {
        keys = keys(Math.max(partition + 1, 2 * keys.length));
      }
      return keys[partition];
    }

    /** Each partition has a key of its own, also where there are more of them than key groups. */
    private int[] keys(int partitions) {
      int[] next = byGroup.clone();
      int[] found = new int[partitions];
      for (int partition = 0; partition < partitions; partition++) {
        int group = groupOf(partition);
        int key = next[group];
        while (KeyGroupRangeAssignment.assignToKeyGroup(Row.of(key), byGroup.length) != group) {
          key++;
        }
        found[partition] = key;
        next[group] = key + 1;
      }
      return found;
    }

    private int groupOf(int partition) {
      return spread(first + partition, byGroup.length);
    }

    /** Whether a subtask gets the records of a partition. */
    IntPredicate ownedBy(TaskInfo task) {
      KeyGroupRange own = range(byGroup.length, task);
      return partition -> own.contains(groupOf(partition));
    }

    /** The i-th of the groups such that any first few of them are spread evenly (bits reversed). */
    static int spread(int i, int groups) {
      long reversed = Integer.toUnsignedLong(Integer.reverse(i));
      return (int) ((reversed * groups) >>> 32);
    }
  }
}
