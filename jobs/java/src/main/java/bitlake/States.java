package bitlake;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.api.common.state.MapState;

/** Many entries of a map state at once: what crosses from Python and back is one array of bytes. */
public final class States {
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

  private static byte[] next(ByteBuffer from) {
    byte[] bytes = new byte[from.getInt()];
    from.get(bytes);
    return bytes;
  }
}
