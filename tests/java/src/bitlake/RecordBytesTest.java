package bitlake;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.apache.flink.api.common.functions.util.ListCollector;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.record.TimestampType;
import org.apache.flink.util.InstantiationUtil;
import org.junit.jupiter.api.Test;

class RecordBytesTest {
  static ConsumerRecord<byte[], byte[]> record(
      int partition, long offset, long timestamp, boolean appended, byte[] key, byte[] value, RecordHeaders headers) {
    TimestampType type = appended ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME;
    return new ConsumerRecord<>(
        "bonds", partition, offset, timestamp, type, -1, -1, key, value, headers, Optional.empty());
  }

  static byte[] bytes(ConsumerRecord<byte[], byte[]> record) throws Exception {
    List<byte[]> out = new ArrayList<>();
    InstantiationUtil.clone(new RecordBytes()).deserialize(record, new ListCollector<>(out));
    assertEquals(1, out.size());
    return out.get(0);
  }

  @Test
  void everyPartIsWhereItIsSaidToBe() throws Exception {
    RecordHeaders headers = new RecordHeaders();
    headers.add("a", new byte[] {9}).add("é", null).add("a", new byte[0]);
    byte[] key = {1, 2}, value = {3, 4, 5};
    ByteBuffer in = ByteBuffer.wrap(bytes(record(3, 1L << 40, -5, true, key, value, headers)));
    assertEquals(3, in.getInt());
    assertEquals(1L << 40, in.getLong());
    assertEquals(-5, in.getLong());
    assertEquals(1, in.get());
    assertEquals(2, in.getInt());
    assertEquals(3, in.getInt());
    byte[] written = new byte[in.getInt()];
    byte[] parts = new byte[5];
    in.get(parts);
    assertArrayEquals(new byte[] {1, 2, 3, 4, 5}, parts);
    in.get(written);
    assertFalse(in.hasRemaining());
    // Counts and lengths are zigzag: 3 is 6, 1 is 2, none is -1 is 1.
    assertArrayEquals(new byte[] {6, 2, 'a', 2, 9, 4, (byte) 0xc3, (byte) 0xa9, 1, 2, 'a', 0}, written);
  }

  @Test
  void nullsAreNotEmpty() throws Exception {
    byte[] nulls = bytes(record(0, 0, 0, false, null, null, new RecordHeaders()));
    byte[] empty = bytes(record(0, 0, 0, false, new byte[0], new byte[0], new RecordHeaders()));
    assertEquals(-1, ByteBuffer.wrap(nulls).getInt(21));
    assertEquals(-1, ByteBuffer.wrap(nulls).getInt(25));
    assertEquals(0, ByteBuffer.wrap(empty).getInt(21));
    assertEquals(0, ByteBuffer.wrap(empty).getInt(25));
    assertEquals(0, nulls[20], "the producer's timestamp");
    assertArrayEquals(new byte[] {0}, Arrays.copyOfRange(nulls, 33, nulls.length), "no headers");
  }

  @Test
  void longHeadersHaveLongLengths() throws Exception {
    byte[] value = new byte[100_000];
    RecordHeaders headers = new RecordHeaders();
    headers.add("n".repeat(64), value);
    byte[] written = bytes(record(0, 0, 0, false, null, null, headers));
    // 1 is 2; 64 is 128 in two bytes; 100,000 is 200,000 in three.
    byte[] lengths = {2, (byte) 0x80, 1};
    assertArrayEquals(lengths, Arrays.copyOfRange(written, 33, 36));
    assertArrayEquals(new byte[] {(byte) 0xc0, (byte) 0x9a, 12}, Arrays.copyOfRange(written, 100, 103));
    assertEquals(103 + 100_000, written.length);
  }

  @Test
  void flinkTakesThemForBytes() {
    assertEquals(PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO, new RecordBytes().getProducedType());
  }
}
