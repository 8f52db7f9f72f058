package bitlake;

import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.util.OneInputStreamOperatorTestHarness;
import org.apache.flink.types.Row;

/** What tests of operators share. */
final class Operators {
  private Operators() {}

  /** What an operator gave since the last call. */
  @SuppressWarnings("unchecked")
  static <T> List<T> taken(OneInputStreamOperatorTestHarness<?, T> harness) {
    List<T> found = new ArrayList<>();
    Queue<Object> output = harness.getOutput();
    for (Object one = output.poll(); one != null; one = output.poll()) {
      found.add(((StreamRecord<T>) one).getValue());
    }
    return found;
  }

  static byte[] frame(Row row) {
    return (byte[]) row.getField(1);
  }

  static int key(Row row) {
    return (Integer) row.getField(0);
  }
}
