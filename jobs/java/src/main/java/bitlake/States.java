package bitlake;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.api.common.state.MapState;

/** Many entries of a map state at once: what crosses from Python and back is one array of bytes. */
public final class States {
  private static final byte LEFT = 0;

  private States() {}

  /** Values of keys; both are (length, bytes) one after the other, little-endian, a length of -1: there is none. */
  public static byte[] getMany(MapState<byte[], byte[]> state, byte[] keys) throws Exception {
    ByteBuffer from = ByteBuffer.wrap(keys).order(ByteOrder.LITTLE_ENDIAN);
    byte[] out = new byte[Math.max(1024, keys.length)];
    int size = 0;
    while (from.hasRemaining()) {
      byte[] value = state.get(next(from));
      int length = value == null ? 0 : value.length;
      if (size + 4 + length > out.length) {
        out = Arrays.copyOf(out, Math.max(2 * out.length, size + 4 + length));
      }
      ByteBuffer.wrap(out).order(ByteOrder.LITTLE_ENDIAN).putInt(size, value == null ? -1 : length);
      if (value != null) {
        System.arraycopy(value, 0, out, size + 4, length);
      }
      size += 4 + length;
    }
    return Arrays.copyOf(out, size);
  }

  /** Sets values: keys and values alternate, each (length, bytes). */
  public static void putMany(MapState<byte[], byte[]> state, byte[] entries) throws Exception {
    ByteBuffer from = ByteBuffer.wrap(entries).order(ByteOrder.LITTLE_ENDIAN);
    Map<byte[], byte[]> all = new LinkedHashMap<>();
    while (from.hasRemaining()) {
      all.put(next(from), next(from));
    }
    state.putAll(all);
  }

  /** Puts a mark in the place of values that begin with a lesser long (little-endian, but 0); how many. */
  public static long leave(MapState<byte[], byte[]> state, long before) throws Exception {
    long left = 0;
    Iterable<Map.Entry<byte[], byte[]>> entries = state.entries();
    if (entries == null) {
      return 0;
    }
    for (Map.Entry<byte[], byte[]> entry : entries) {
      byte[] value = entry.getValue();
      long last = value.length < Long.BYTES ? 0 : ByteBuffer.wrap(value).order(ByteOrder.LITTLE_ENDIAN).getLong();
      if (last != 0 && last < before) {
        entry.setValue(new byte[] {LEFT});
        left++;
      }
    }
    return left;
  }

  /** All values in the order of their keys' bytes, each (length, bytes). */
  public static byte[] values(MapState<byte[], byte[]> state) throws Exception {
    Map<byte[], byte[]> sorted = new TreeMap<>(Arrays::compareUnsigned);
    Iterable<Map.Entry<byte[], byte[]>> entries = state.entries();
    if (entries != null) {
      entries.forEach(entry -> sorted.put(entry.getKey(), entry.getValue()));
    }
    int size = sorted.values().stream().mapToInt(value -> Integer.BYTES + value.length).sum();
    ByteBuffer out = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
    sorted.values().forEach(value -> out.putInt(value.length).put(value));
    return out.array();
  }

  private static byte[] next(ByteBuffer from) {
    byte[] bytes = new byte[from.getInt()];
    from.get(bytes);
    return bytes;
  }
}
