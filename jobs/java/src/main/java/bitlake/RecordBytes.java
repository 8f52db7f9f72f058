package bitlake;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.Header;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.record.TimestampType;
import org.apache.flink.util.Collector;

/**
 * A Kafka record as bytes, untouched: nothing is decoded before Python.
 *
 * <p>Layout, big-endian: partition (int), offset (long), timestamp in ms (long), 1 if the broker set it (byte), lengths
 * of key, value and headers (int each, -1: null), then their bytes; headers are as in Kafka's record batches.
 */
public final class RecordBytes implements KafkaRecordDeserializationSchema<byte[]> {
  private static final long serialVersionUID = 1L;

  private static final byte[] NO_HEADERS = {0};
  private static final int FIXED = 4 + 8 + 8 + 1 + 4 + 4 + 4;

  @Override
  public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<byte[]> out) throws IOException {
    byte[] key = record.key();
    byte[] value = record.value();
    byte[] headers = headers(record.headers().toArray());
    ByteBuffer buffer = ByteBuffer.allocate(FIXED + length(key) + length(value) + headers.length);
    buffer.putInt(record.partition()).putLong(record.offset()).putLong(record.timestamp());
    buffer.put((byte) (record.timestampType() == TimestampType.LOG_APPEND_TIME ? 1 : 0));
    buffer.putInt(key == null ? -1 : key.length).putInt(value == null ? -1 : value.length).putInt(headers.length);
    put(buffer, key);
    put(buffer, value);
    buffer.put(headers);
    out.collect(buffer.array());
  }

  /** Headers as record batches have them. */
  private static byte[] headers(Header[] headers) {
    if (headers.length == 0) {
      return NO_HEADERS;
    }
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    varint(out, headers.length);
    for (Header header : headers) {
      bytes(out, header.key().getBytes(StandardCharsets.UTF_8));
      bytes(out, header.value());
    }
    return out.toByteArray();
  }

  private static void bytes(ByteArrayOutputStream out, byte[] bytes) {
    varint(out, bytes == null ? -1 : bytes.length);
    if (bytes != null) {
      out.writeBytes(bytes);
    }
  }

  /** A zigzag varint. */
  private static void varint(ByteArrayOutputStream out, int value) {
    int left = (value << 1) ^ (value >> 31);
    while ((left & ~127) != 0) {
      out.write((left & 127) | 128);
      left >>>= 7;
    }
    out.write(left);
  }

  private static int length(byte[] bytes) {
    return bytes == null ? 0 : bytes.length;
  }

  private static void put(ByteBuffer buffer, byte[] bytes) {
    if (bytes != null) {
      buffer.put(bytes);
    }
  }

  @Override
  public TypeInformation<byte[]> getProducedType() {
    return PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO;
  }
}
