package bitlake;

import java.nio.ByteBuffer;
import java.util.TreeMap;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.BoundedOneInput;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.types.Row;

/**
 * Gathers records into frames, one partition each, so that Python is called once for thousands of records.
 *
 * <p>Nothing is held back: frames go on when they are full, after a while, before each checkpoint's barrier and at the
 * end of the input, so that there is no state to keep. Before a barrier, a mark follows them.
 */
public final class Gather extends AbstractStreamOperator<Row>
    implements OneInputStreamOperator<byte[], Row>, BoundedOneInput {
  private static final long serialVersionUID = 1L;

  /** Zeros after the records: Python's decoder reads beyond the end. */
  private static final int PADDING = 64;

  private final Keys.OfPartition keys;
  private final int mostBytes;
  private final long mostMillis;
  private transient TreeMap<Integer, Filling> filling;
  private transient boolean ended;

  public Gather(Keys.OfPartition keys, int mostBytes, long mostMillis) {
    this.keys = keys;
    this.mostBytes = mostBytes;
    this.mostMillis = mostMillis;
  }

  @Override
  public void open() throws Exception {
    super.open();
    filling = new TreeMap<>();
    tick(getProcessingTimeService().getCurrentProcessingTime());
  }

  private void tick(long now) {
    getProcessingTimeService()
        .registerTimer(
            now + mostMillis,
            at -> {
              if (!ended) {
                flush();
                tick(at);
              }
            });
  }

  @Override
  public void processElement(StreamRecord<byte[]> element) {
    byte[] record = element.getValue();
    int partition = ByteBuffer.wrap(record).getInt();
    Filling frame = filling.computeIfAbsent(partition, number -> new Filling());
    frame.add(record, mostBytes);
    if (frame.size >= mostBytes) {
      flush(partition, frame);
    }
  }

  private void flush(int partition, Filling frame) {
    if (frame.size > 0) {
      output.collect(new StreamRecord<>(Row.of(keys.keyOf(partition), frame.take())));
    }
  }

  private void flush() {
    filling.forEach(this::flush);
  }

  private void flushAndMark(long checkpoint) {
    flush();
    for (int partition : filling.keySet()) {
      output.collect(new StreamRecord<>(Row.of(keys.keyOf(partition), Mark.mark(partition, checkpoint))));
    }
  }

  @Override
  public void prepareSnapshotPreBarrier(long checkpoint) {
    if (!ended) {
      flushAndMark(checkpoint);
    }
  }

  @Override
  public void endInput() {
    flushAndMark(Mark.END);
    ended = true;
  }

  private static final class Filling {
    private byte[] bytes = new byte[1 << 16];
    private int size;

    void add(byte[] record, int most) {
      if (size + 4 + record.length > bytes.length) {
        bytes = java.util.Arrays.copyOf(bytes, Math.max(2 * bytes.length, size + 4 + record.length));
      }
      ByteBuffer.wrap(bytes).putInt(size, record.length);
      System.arraycopy(record, 0, bytes, size + 4, record.length);
      size += 4 + record.length;
    }

    byte[] take() {
      byte[] frame = java.util.Arrays.copyOf(bytes, size + PADDING);
      size = 0;
      return frame;
    }
  }
}
