package bitlake;

import static bitlake.Operators.frame;
import static bitlake.Operators.key;
import static bitlake.Operators.taken;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.apache.flink.api.common.typeutils.base.array.BytePrimitiveArraySerializer;
import org.apache.flink.runtime.jobgraph.OperatorID;
import org.apache.flink.streaming.util.OneInputStreamOperatorTestHarness;
import org.apache.flink.types.Row;
import org.apache.flink.util.InstantiationUtil;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class GatherTest {
  private static final int MOST = 8, PADDING = 64, FRAME = 1000, HELD = 2500;
  private static final long MILLIS = 100;
  private static final Keys.OfPartition KEYS = new Keys.OfPartition(MOST, "bonds");

  private static OneInputStreamOperatorTestHarness<byte[], Row> harness(Broker broker) throws Exception {
    Gather gather = new Gather(KEYS, FRAME, HELD, MILLIS, "bonds", Map.of(), 1, broker);
    var harness =
        new OneInputStreamOperatorTestHarness<>(
            gather, MOST, 1, 0, BytePrimitiveArraySerializer.INSTANCE, new OperatorID());
    harness.setProcessingTime(0);
    harness.open();
    return harness;
  }

  private static OneInputStreamOperatorTestHarness<byte[], Row> harness() throws Exception {
    return harness(new Broker("bonds", 0));
  }

  private static byte[] record(int partition, int size, int content) {
    byte[] record = new byte[size];
    Arrays.fill(record, (byte) content);
    ByteBuffer.wrap(record).putInt(partition);
    return record;
  }

  /** The records of a frame, which has zeros at its end. */
  private static List<byte[]> records(Row row) {
    byte[] frame = frame(row);
    ByteBuffer in = ByteBuffer.wrap(frame, 0, frame.length - PADDING);
    List<byte[]> found = new ArrayList<>();
    while (in.hasRemaining()) {
      byte[] record = new byte[in.getInt()];
      in.get(record);
      found.add(record);
    }
    assertArrayEquals(new byte[PADDING], Arrays.copyOfRange(frame, frame.length - PADDING, frame.length));
    return found;
  }

  private static boolean isMark(Row row) {
    return frame(row).length == 16 && ByteBuffer.wrap(frame(row)).getInt() == -1;
  }

  @Test
  void recordsOfAPartitionGoOnTogetherAndInOrder() throws Exception {
    try (var harness = harness()) {
      for (int i = 0; i < 10; i++) {
        harness.processElement(record(i % 2, 20 + i, i), 0);
      }
      assertEquals(List.of(), taken(harness), "frames that are not full yet");
      harness.setProcessingTime(MILLIS);
      List<Row> rows = taken(harness);
      assertEquals(2, rows.size());
      for (int partition = 0; partition < 2; partition++) {
        assertEquals(KEYS.keyOf(partition), key(rows.get(partition)));
        List<byte[]> records = records(rows.get(partition));
        assertEquals(5, records.size());
        for (int i = 0; i < 5; i++) {
          assertArrayEquals(record(partition, 20 + 2 * i + partition, 2 * i + partition), records.get(i));
        }
      }
      harness.setProcessingTime(3 * MILLIS);
      assertEquals(List.of(), taken(harness), "nothing comes twice, and no frame is empty");
    }
  }

  @Test
  void aFullFrameGoesOnAloneAtOnce() throws Exception {
    try (var harness = harness()) {
      harness.processElement(record(0, 100, 1), 0);
      harness.processElement(record(1, 500, 2), 0);
      harness.processElement(record(1, FRAME - 508, 3), 0);
      List<Row> rows = taken(harness);
      assertEquals(1, rows.size());
      assertEquals(KEYS.keyOf(1), key(rows.get(0)));
      assertEquals(2, records(rows.get(0)).size());
    }
  }

  @Test
  void allFramesGoOnWhenTogetherTheyAreTooLarge() throws Exception {
    try (var harness = harness()) {
      for (int partition = 0; partition < 3; partition++) {
        harness.processElement(record(partition, 796, partition), 0);
      }
      assertEquals(List.of(), taken(harness));
      harness.processElement(record(3, HELD - 2404, 3), 0);
      assertEquals(4, taken(harness).size());
      harness.processElement(record(0, 796, 0), 0);
      assertEquals(List.of(), taken(harness), "what went on is held no more");
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {70_000, 200_000, 3_000_000})
  void aRecordMayBeLargerThanAFrame(int size) throws Exception {
    try (var harness = harness()) {
      harness.processElement(record(0, 30, 1), 0);
      harness.processElement(record(0, size, 2), 0);
      harness.processElement(record(0, FRAME, 3), 0);
      List<Row> rows = taken(harness);
      assertEquals(2, rows.size());
      assertArrayEquals(record(0, 30, 1), records(rows.get(0)).get(0));
      assertArrayEquals(record(0, size, 2), records(rows.get(0)).get(1));
      assertArrayEquals(record(0, FRAME, 3), records(rows.get(1)).get(0));
    }
  }

  @Test
  void beforeABarrierAllGoesOnThenAMarkForEachPartitionThatWasMet() throws Exception {
    try (var harness = harness()) {
      harness.processElement(record(1, 50, 1), 0);
      harness.setProcessingTime(MILLIS);
      harness.processElement(record(0, 50, 2), 0);
      taken(harness);
      harness.processElement(record(0, 60, 3), 0);
      harness.prepareSnapshotPreBarrier(9);
      List<Row> rows = taken(harness);
      assertEquals(3, rows.size());
      assertArrayEquals(record(0, 60, 3), records(rows.get(0)).get(1));
      for (int partition = 0; partition < 2; partition++) {
        Row mark = rows.get(1 + partition);
        assertEquals(KEYS.keyOf(partition), key(mark));
        assertArrayEquals(Mark.mark(partition, 9), frame(mark));
      }
    }
  }

  @Test
  void theEndOfTheInputIsMarkedAndNothingComesAfterIt() throws Exception {
    try (var harness = harness()) {
      harness.processElement(record(2, 50, 1), 0);
      harness.endInput();
      List<Row> rows = taken(harness);
      assertEquals(2, rows.size());
      assertEquals(1, records(rows.get(0)).size());
      assertArrayEquals(Mark.mark(2, Mark.END), frame(rows.get(1)));
      harness.prepareSnapshotPreBarrier(10);
      harness.setProcessingTime(10 * MILLIS);
      assertEquals(List.of(), taken(harness));
    }
  }

  @Test
  void partitionsWithoutRecordsAreToldOfAndMarked() throws Exception {
    Broker broker = new Broker("bonds", 2);
    try (var harness = harness(broker)) {
      Map<Integer, ByteBuffer> ends = new TreeMap<>();
      for (long now = MILLIS; ends.size() < 2; now += MILLIS) {
        harness.setProcessingTime(now);
        for (Row row : taken(harness)) {
          ByteBuffer end = ByteBuffer.wrap(frame(row));
          assertEquals(-2, end.getInt());
          assertEquals(KEYS.keyOf(end.getInt(4)), key(row));
          ends.put(end.getInt(4), end);
        }
        Thread.sleep(1);
      }
      ends.forEach((partition, end) -> assertEquals(0, end.getLong(8)));
      harness.prepareSnapshotPreBarrier(3);
      List<Row> marks = taken(harness).stream().filter(GatherTest::isMark).toList();
      assertEquals(2, marks.size());
      assertArrayEquals(Mark.mark(1, 3), frame(marks.get(1)));
    }
    broker.awaitNoThreads();
  }

  /** Whatever comes in goes out once, in the order of its partition, and what came before a barrier before its mark. */
  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4, 5})
  void nothingIsLostOrDoubled(int seed) throws Exception {
    Random random = new Random(seed);
    Map<Integer, List<byte[]>> in = new TreeMap<>(), out = new TreeMap<>();
    try (var harness = harness()) {
      long now = 0;
      for (int step = 0; step < 2000; step++) {
        int partition = random.nextInt(7);
        int size = 4 + (random.nextInt(50) == 0 ? random.nextInt(100_000) : random.nextInt(300));
        byte[] record = record(partition, size, random.nextInt());
        in.computeIfAbsent(partition, number -> new ArrayList<>()).add(record);
        harness.processElement(record, 0);
        if (random.nextInt(40) == 0) {
          now += random.nextInt((int) MILLIS * 2);
          harness.setProcessingTime(now);
        }
        boolean barrier = random.nextInt(100) == 0;
        if (barrier) {
          harness.prepareSnapshotPreBarrier(step);
        }
        for (Row row : taken(harness)) {
          if (isMark(row)) {
            int of = ByteBuffer.wrap(frame(row)).getInt(4);
            assertEquals(in.get(of).size(), out.get(of).size(), "records before the barrier " + step);
          } else {
            List<byte[]> records = records(row);
            int of = ByteBuffer.wrap(records.get(0)).getInt();
            assertEquals(KEYS.keyOf(of), key(row));
            out.computeIfAbsent(of, number -> new ArrayList<>()).addAll(records);
          }
        }
        assertTrue(in.size() >= out.size());
      }
      harness.endInput();
      for (Row row : taken(harness)) {
        if (!isMark(row)) {
          List<byte[]> records = records(row);
          out.computeIfAbsent(ByteBuffer.wrap(records.get(0)).getInt(), number -> new ArrayList<>()).addAll(records);
        }
      }
    }
    assertEquals(in.keySet(), out.keySet());
    in.forEach((partition, records) -> assertArrayEquals(records.toArray(), out.get(partition).toArray()));
  }

  @Test
  void anOperatorCanBeSentToATask() throws Exception {
    InstantiationUtil.clone(new Gather(KEYS, FRAME, HELD, MILLIS, "bonds", Map.of("a", "b"), 1));
  }
}
