package bitlake;

import org.apache.flink.api.common.functions.FilterFunction;

/** Kinds of frames. */
public final class Frames {
  private Frames() {}

  /** Frames of changes: they begin with a key, which is small and not negative; frames of rows with their number. */
  public static final class Changes implements FilterFunction<byte[]> {
    private static final long serialVersionUID = 1L;

    @Override
    public boolean filter(byte[] frame) {
      return frame[0] == 0;
    }
  }
}
