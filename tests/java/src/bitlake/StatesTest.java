package bitlake;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.apache.flink.api.common.state.MapState;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** On RocksDB, with the options that jobs have: the state of a job. Its byte arrays are keys by content, in no order. */
class StatesTest {
  private final KeyedBytes keyed = new KeyedBytes();
  private MapState<byte[], byte[]> state;

  @BeforeEach
  void open() throws Exception {
    keyed.at(1);
    state = keyed.get();
  }

  @AfterEach
  void close() throws Exception {
    keyed.close();
  }

  private static byte[] packed(byte[]... parts) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      out.writeBytes(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(part == null ? -1 : part.length).array());
      out.writeBytes(part == null ? new byte[0] : part);
    }
    return out.toByteArray();
  }

  private static byte[] text(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static byte[] beginning(long with, int more) {
    return ByteBuffer.allocate(8 + more).order(ByteOrder.LITTLE_ENDIAN).putLong(with).array();
  }

  @Test
  void whatWasPutIsThereAndOthersAreNot() throws Exception {
    States.putMany(state, packed(text("a"), text("1"), new byte[0], new byte[0], text("b"), new byte[] {0, -1}));
    byte[] found = States.getMany(state, packed(text("b"), text("nobody"), text("a"), new byte[0], text("a")));
    assertArrayEquals(packed(new byte[] {0, -1}, null, text("1"), new byte[0], text("1")), found);
    assertArrayEquals(new byte[0], States.getMany(state, new byte[0]));
  }

  @Test
  void aKeysLastValueCounts() throws Exception {
    States.putMany(state, packed(text("a"), text("1"), text("a"), text("2")));
    assertArrayEquals(packed(text("2")), States.getMany(state, packed(text("a"))));
    States.putMany(state, packed(text("a"), text("3")));
    assertArrayEquals(packed(text("3")), States.getMany(state, packed(text("a"))));
  }

  @Test
  void keyGroupsDoNotSeeEachOther() throws Exception {
    States.putMany(state, packed(text("a"), text("1")));
    keyed.at(2);
    assertArrayEquals(packed((byte[]) null), States.getMany(state, packed(text("a"))));
    assertArrayEquals(new byte[0], States.values(state));
    assertEquals(0, States.leave(state, Long.MAX_VALUE));
  }

  @Test
  void manyLargeValuesComeBack() throws Exception {
    Random random = new Random(7);
    List<byte[]> entries = new ArrayList<>(), keys = new ArrayList<>(), wanted = new ArrayList<>();
    for (int number = 0; number < 500; number++) {
      byte[] key = new byte[random.nextInt(40)], value = new byte[random.nextInt(number % 50 == 0 ? 100_000 : 500)];
      random.nextBytes(key);
      random.nextBytes(value);
      if (keys.stream().noneMatch(one -> Arrays.equals(one, key))) {
        keys.add(key);
        wanted.add(value);
        entries.addAll(List.of(key, value));
      }
    }
    States.putMany(state, packed(entries.toArray(byte[][]::new)));
    byte[] found = States.getMany(state, packed(keys.toArray(byte[][]::new)));
    assertArrayEquals(packed(wanted.toArray(byte[][]::new)), found);
  }

  @Test
  void valuesComeInTheOrderOfTheirKeysBytes() throws Exception {
    long[] numbers = {3, 255, 256, 1, 1L << 40, 0, 128, 127, 65_536};
    Map<Long, byte[]> sorted = new TreeMap<>();
    for (long number : numbers) {
      byte[] value = text("value " + number);
      States.putMany(state, packed(ByteBuffer.allocate(8).putLong(number).array(), value));
      sorted.put(number, value);
    }
    assertArrayEquals(packed(sorted.values().toArray(byte[][]::new)), States.values(state));
  }

  @Test
  void onlyWhatIsOlderIsLeftToTheTables() throws Exception {
    byte[] left = {0};
    Map<String, byte[]> before =
        Map.of(
            "older", beginning(99, 5),
            "negative", beginning(-1, 0),
            "equal", beginning(100, 5),
            "newer", beginning(1L << 50, 0),
            "none", beginning(0, 3),
            "short", new byte[] {1, 2, 3},
            "left", left);
    for (var one : before.entrySet()) {
      States.putMany(state, packed(text(one.getKey()), one.getValue()));
    }
    assertEquals(2, States.leave(state, 100));
    for (var one : before.entrySet()) {
      boolean older = one.getKey().equals("older") || one.getKey().equals("negative");
      byte[] wanted = packed(older ? left : one.getValue());
      assertArrayEquals(wanted, States.getMany(state, packed(text(one.getKey()))), one.getKey());
    }
    assertEquals(0, States.leave(state, 100), "what was left is not left again");
  }
}
