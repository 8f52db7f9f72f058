package bitlake;

import java.nio.charset.StandardCharsets;
import org.apache.flink.api.common.functions.FilterFunction;

/** Kinds of frames. */
public final class Frames {
  /** What a frame begins with that tells why the job has to end; the reason follows. */
  private static final int STOP = 253;

  private Frames() {}

  /** Ends the job where a frame says so. */
  static byte[] checked(byte[] frame) {
    if ((frame[0] & 255) == STOP) {
      throw new Stop(new String(frame, 1, frame.length - 1, StandardCharsets.UTF_8));
    }
    return frame;
  }

  /** Frames of changes: they begin with a key, which is small and not negative; frames of rows with their number. */
  public static final class Changes implements FilterFunction<byte[]> {
    private static final long serialVersionUID = 1L;

    @Override
    public boolean filter(byte[] frame) {
      return checked(frame)[0] == 0;
    }
  }

  /** Frames of the rows of one table. */
  public static final class Of implements FilterFunction<byte[]> {
    private static final long serialVersionUID = 1L;

    private final int number;
    private final boolean replacing;

    /**
     * @param number what they begin with
     * @param replacing also those that begin with the next number: their rows replace rows of the same identity
     */
    public Of(int number, boolean replacing) {
      this.number = number;
      this.replacing = replacing;
    }

    @Override
    public boolean filter(byte[] frame) {
      int found = checked(frame)[0] & 255;
      return found == number || replacing && found == number + 1;
    }
  }
}
