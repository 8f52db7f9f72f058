package bitlake;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Map;
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
 * end of the input, so that there is no state to keep. Before a barrier, a mark follows them. Frames that tell where
 * partitions end come between them: also of partitions without records.
 */
public final class Gather extends AbstractStreamOperator<Row>
    implements OneInputStreamOperator<byte[], Row>, BoundedOneInput {
  private static final long serialVersionUID = 1L;

  /** Zeros after the records: Python's decoder reads beyond the end. */
  private static final int PADDING = 64;

  private final Keys.OfPartition keys;
  private final int mostBytes;
  private final int mostHeld;
  private final long mostMillis;
  private final String topic;
  private final Map<String, String> kafka;
  private final long endsMillis;
  private final Clients clients;
  private transient Ends ends;
  private transient TreeMap<Integer, Filling> filling;
  private transient int held;
  private transient boolean ended;

  /**
   * @param mostBytes a frame goes on when it is so large
   * @param mostHeld all of them do when together they are so large
   * @param mostMillis or after so long
   * @param kafka client properties by Kafka's names
   * @param endsMillis how often it is asked where partitions end
   */
  public Gather(
      Keys.OfPartition keys,
      int mostBytes,
      int mostHeld,
      long mostMillis,
      String topic,
      Map<String, String> kafka,
      long endsMillis) {
    this(keys, mostBytes, mostHeld, mostMillis, topic, kafka, endsMillis, new Clients());
  }

  Gather(
      Keys.OfPartition keys,
      int mostBytes,
      int mostHeld,
      long mostMillis,
      String topic,
      Map<String, String> kafka,
      long endsMillis,
      Clients clients) {
    this.keys = keys;
    this.mostBytes = mostBytes;
    this.mostHeld = mostHeld;
    this.mostMillis = mostMillis;
    this.topic = topic;
    this.kafka = new TreeMap<>(kafka);
    this.endsMillis = endsMillis;
    this.clients = clients;
  }

  @Override
  public void open() throws Exception {
    super.open();
    filling = new TreeMap<>();
    var task = getRuntimeContext().getTaskInfo();
    ends = new Ends(topic, kafka, keys.ownedBy(task), endsMillis, clients);
    tick(getProcessingTimeService().getCurrentProcessingTime());
  }

  private void tick(long now) {
    getProcessingTimeService()
        .registerTimer(
            now + mostMillis,
            at -> {
              if (!ended) {
                flush();
                tellEnds();
                tick(at);
              }
            });
  }

  @Override
  public void processElement(StreamRecord<byte[]> element) {
    byte[] record = element.getValue();
    int partition = ByteBuffer.wrap(record).getInt();
    Filling frame = filling.computeIfAbsent(partition, number -> new Filling());
    held += frame.add(record);
    if (frame.size >= mostBytes) {
      flush(partition, frame);
    } else if (held >= mostHeld) {
      flush();
    }
  }

  private void flush(int partition, Filling frame) {
    if (frame.size > 0) {
      held -= frame.size;
      output.collect(new StreamRecord<>(Row.of(keys.keyOf(partition), frame.take())));
    }
  }

  private void flush() {
    filling.forEach(this::flush);
  }

  private void tellEnds() {
    ends.take()
        .forEach(
            (partition, frame) -> {
              filling.computeIfAbsent(partition, number -> new Filling());
              output.collect(new StreamRecord<>(Row.of(keys.keyOf(partition), frame)));
            });
  }

  @Override
  public void close() throws Exception {
    if (ends != null) {
      ends.close();
    }
    super.close();
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
    private static final int LEAST = 1 << 16;
    private byte[] bytes = new byte[LEAST];
    private int size;

    /** How many bytes it grew by. */
    int add(byte[] record) {
      int grown = 4 + record.length;
      if (size + grown > bytes.length) {
        bytes = Arrays.copyOf(bytes, Math.max(2 * bytes.length, size + grown));
      }
      ByteBuffer.wrap(bytes).putInt(size, record.length);
      System.arraycopy(record, 0, bytes, size + 4, record.length);
      size += grown;
      return grown;
    }

    byte[] take() {
      byte[] frame = new byte[size + PADDING];
      System.arraycopy(bytes, 0, frame, 0, size);
      if (size < bytes.length / 4 && bytes.length > LEAST) {
        bytes = new byte[bytes.length / 2];
      }
      size = 0;
      return frame;
    }
  }
}
