package bitlake;

import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.typeutils.base.array.BytePrimitiveArraySerializer;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.Producer;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.InvalidRecordException;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.errors.InvalidTimestampException;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.flink.metrics.Counter;
import org.apache.flink.runtime.state.StateInitializationContext;
import org.apache.flink.runtime.state.StateSnapshotContext;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;

/**
 * Sends messages to a Kafka topic once the checkpoint that they came before is complete, at least once.
 *
 * <p>Until then they are held here, and in the state, too, until they are sent: what a restored state holds is of a
 * complete checkpoint and may not have been sent. Frames of other kinds are passed over.
 */
public final class Letters extends AbstractStreamOperator<byte[]> implements OneInputStreamOperator<byte[], byte[]> {
  private static final long serialVersionUID = 1L;

  /** What frames of messages begin with. */
  private static final int NUMBER = 252;

  private static final int LARGEST = 64 << 20;

  private final String topic;
  private final Map<String, String> properties;
  private final Clients clients;
  private transient ListState<byte[]> state;
  private transient List<byte[]> since;
  private transient TreeMap<Long, List<byte[]>> waiting;
  private transient Producer<byte[], byte[]> producer;
  private transient Counter sent;
  private transient Counter refused;

  /**
   * @param topic where to
   * @param properties client properties by Kafka's names; those that no producer knows are left out
   */
  public Letters(String topic, Map<String, String> properties) {
    this(topic, properties, new Clients());
  }

  Letters(String topic, Map<String, String> properties, Clients clients) {
    this.topic = topic;
    this.properties = new TreeMap<>(properties);
    this.clients = clients;
  }

  @Override
  public void initializeState(StateInitializationContext context) throws Exception {
    super.initializeState(context);
    since = new ArrayList<>();
    waiting = new TreeMap<>();
    state =
        context
            .getOperatorStateStore()
            .getListState(new ListStateDescriptor<>("letters", BytePrimitiveArraySerializer.INSTANCE));
    if (context.isRestored()) {
      List<byte[]> held = new ArrayList<>();
      state.get().forEach(held::add);
      waiting.put(context.getRestoredCheckpointId().orElse(0), held);
    }
  }

  @Override
  public void open() throws Exception {
    super.open();
    sent = getMetricGroup().addGroup("bitlake").counter("letters_sent");
    refused = getMetricGroup().addGroup("bitlake").counter("letters_refused");
    Properties known = new Properties();
    properties.forEach(
        (name, value) -> {
          if (ProducerConfig.configNames().contains(name)) {
            known.put(name, value);
          }
        });
    known.put(ProducerConfig.ACKS_CONFIG, "all");
    known.put(ProducerConfig.MAX_REQUEST_SIZE_CONFIG, LARGEST);
    known.put(ProducerConfig.BUFFER_MEMORY_CONFIG, 2L * LARGEST);
    producer = clients.producer(known);
    send(waiting);
  }

  @Override
  public void processElement(StreamRecord<byte[]> element) {
    byte[] frame = element.getValue();
    if ((frame[0] & 255) == NUMBER) {
      since.add(frame);
    }
  }

  @Override
  public void snapshotState(StateSnapshotContext context) throws Exception {
    super.snapshotState(context);
    if (!since.isEmpty()) {
      waiting.computeIfAbsent(context.getCheckpointId(), number -> new ArrayList<>()).addAll(since);
      since = new ArrayList<>();
    }
    List<byte[]> all = new ArrayList<>();
    waiting.values().forEach(all::addAll);
    state.update(all);
  }

  @Override
  public void notifyCheckpointComplete(long checkpoint) throws Exception {
    super.notifyCheckpointComplete(checkpoint);
    send(waiting.headMap(checkpoint, true));
  }

  @Override
  public void close() throws Exception {
    if (producer != null) {
      producer.close();
    }
    super.close();
  }

  private void send(Map<Long, List<byte[]>> letters) throws Exception {
    List<Future<RecordMetadata>> sending = new ArrayList<>();
    for (List<byte[]> frames : letters.values()) {
      for (byte[] frame : frames) {
        send(frame, sending);
      }
    }
    producer.flush();
    for (Future<RecordMetadata> one : sending) {
      try {
        one.get();
        sent.inc();
      } catch (ExecutionException error) {
        Throwable cause = error.getCause();
        if (!(cause instanceof RecordTooLargeException)
            && !(cause instanceof InvalidRecordException)
            && !(cause instanceof InvalidTimestampException)) {
          throw error;
        }
        refused.inc();
        LOG.warn("A dead letter is in the table alone: {} does not take it.", topic, cause);
      }
    }
    letters.clear();
  }

  /** The messages of a frame, as `pipeline.flink.letters` writes them. */
  private void send(byte[] frame, List<Future<RecordMetadata>> sending) throws IOException {
    DataInputStream in = new DataInputStream(new ByteArrayInputStream(frame, 1, frame.length - 1));
    int partitions = producer.partitionsFor(topic).size();
    for (int left = in.readInt(); left > 0; left--) {
      int partition = Math.floorMod(in.readInt(), partitions);
      byte[] key = bytes(in);
      byte[] value = bytes(in);
      ProducerRecord<byte[], byte[]> message =
          new ProducerRecord<>(topic, partition, System.currentTimeMillis(), key, value);
      for (int headers = in.readInt(); headers > 0; headers--) {
        message.headers().add(new String(bytes(in), StandardCharsets.UTF_8), bytes(in));
      }
      sending.add(producer.send(message));
    }
  }

  private static byte[] bytes(DataInputStream in) throws IOException {
    int length = in.readInt();
    if (length < 0) {
      return null;
    }
    byte[] found = new byte[length];
    in.readFully(found);
    return found;
  }
}
