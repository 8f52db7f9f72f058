package bitlake;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.apache.flink.api.common.functions.FilterFunction;
import org.apache.flink.runtime.throwable.ThrowableClassifier;
import org.apache.flink.runtime.throwable.ThrowableType;
import org.apache.flink.util.InstantiationUtil;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class FramesTest {
  private static final int LETTERS = 252, STOP = 253, DEAD = 254, AT = 255;

  private static byte[] beginning(int first) {
    return new byte[] {(byte) first, 1, 2, 3};
  }

  static byte[] stopping(String why) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.write(STOP);
    out.writeBytes(why.getBytes(StandardCharsets.UTF_8));
    return out.toByteArray();
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 7, 1 << 15, (1 << 24) - 1})
  void framesWithSmallKeysAreChanges(int key) throws Exception {
    byte[] frame = ByteBuffer.allocate(20).putInt(key).array();
    assertTrue(new Frames.Changes().filter(frame));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 127, 128, LETTERS, DEAD, AT})
  void framesOfOtherKindsAreNoChanges(int first) throws Exception {
    assertFalse(new Frames.Changes().filter(beginning(first)));
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 126, 127, 128, 200, DEAD, AT})
  void rowsOfATableAreKnownByTheirNumber(int number) throws Exception {
    FilterFunction<byte[]> filter = new Frames.Of(number, false);
    for (int first = 0; first < 256; first++) {
      if (first != STOP) {
        assertEquals(first == number, filter.filter(beginning(first)), "a frame that begins with " + first);
      }
    }
  }

  @Test
  void rowsThatReplaceOthersHaveTheNextNumber() throws Exception {
    FilterFunction<byte[]> filter = new Frames.Of(128, true);
    for (int first = 0; first < 253; first++) {
      assertEquals(first == 128 || first == 129, filter.filter(beginning(first)), "a frame that begins with " + first);
    }
  }

  @Test
  void everyFilterEndsTheJobWhereAFrameSaysSo() {
    String why = "'bonds': column ‘é’ 𝄞 is new\nadd it";
    for (FilterFunction<byte[]> filter : java.util.List.of(new Frames.Changes(), new Frames.Of(STOP, true))) {
      Stop stop = assertThrows(Stop.class, () -> filter.filter(stopping(why)));
      assertEquals(why, stop.getMessage());
    }
    assertEquals("", assertThrows(Stop.class, () -> Frames.checked(stopping(""))).getMessage());
  }

  @Test
  void flinkDoesNotRestartAJobThatWasStopped() {
    Throwable wrapped = new RuntimeException("task failed", new Stop("no"));
    assertTrue(ThrowableClassifier.findThrowableOfThrowableType(wrapped, ThrowableType.NonRecoverableError).isPresent());
  }

  @Test
  void icebergRemovesTheFilesOfACommitThatWasStopped() {
    assertTrue(new Stop("no") instanceof org.apache.iceberg.exceptions.CleanableFailure);
  }

  @Test
  void filtersAreTheSameAfterTheirWayToATask() throws Exception {
    Frames.Of filter = InstantiationUtil.clone(new Frames.Of(4, true));
    assertTrue(filter.filter(beginning(5)));
    assertFalse(filter.filter(beginning(6)));
  }
}
