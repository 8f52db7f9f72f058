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
}
