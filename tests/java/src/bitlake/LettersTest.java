package bitlake;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.flink.api.common.typeutils.base.array.BytePrimitiveArraySerializer;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.MockProducer;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.Producer;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.Cluster;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.InvalidRecordException;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.Node;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.PartitionInfo;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.errors.InvalidTimestampException;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.errors.TopicAuthorizationException;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.Header;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.streaming.util.OneInputStreamOperatorTestHarness;
import org.apache.flink.util.InstantiationUtil;
import org.junit.jupiter.api.Test;

class LettersTest {
  /** Takes messages of a topic of four partitions, but for those it refuses. */
  static final class Topic extends Clients {
    private static final long serialVersionUID = 1L;
    private static final Node NODE = new Node(0, "broker", 1);

    final List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
    Properties properties;
    boolean closed;

    /** What a message whose value is "refused" fails with. */
    RuntimeException refusal;

    @Override
    Producer<byte[], byte[]> producer(Properties properties) {
      this.properties = properties;
      ByteArraySerializer bytes = new ByteArraySerializer();
      List<PartitionInfo> partitions = new ArrayList<>();
      for (int number = 0; number < 4; number++) {
        partitions.add(new PartitionInfo("letters", number, NODE, new Node[] {NODE}, new Node[] {NODE}));
      }
      Cluster cluster = new Cluster("cluster", List.of(NODE), partitions, java.util.Set.of(), java.util.Set.of());
      return new MockProducer<>(cluster, true, null, bytes, bytes) {
        @Override
        public synchronized Future<RecordMetadata> send(ProducerRecord<byte[], byte[]> record) {
          if (refusal != null && record.value() != null && text(record.value()).equals("refused")) {
            return CompletableFuture.failedFuture(refusal);
          }
          sent.add(record);
          return super.send(record);
        }

        @Override
        public void close() {
          closed = true;
          super.close();
        }
      };
    }

    List<String> values() {
      List<String> values = sent.stream().map(one -> text(one.value())).toList();
      sent.clear();
      return values;
    }
  }

  private static String text(byte[] bytes) {
    return new String(bytes, StandardCharsets.UTF_8);
  }

  private static void sized(DataOutputStream out, byte[] bytes) throws IOException {
    out.writeInt(bytes == null ? -1 : bytes.length);
    if (bytes != null) {
      out.write(bytes);
    }
  }

  /** A frame of messages to partitions, one after the other, that have these values. */
  private static byte[] frame(String... values) throws IOException {
    ByteArrayOutputStream frame = new ByteArrayOutputStream();
    DataOutputStream out = new DataOutputStream(frame);
    out.writeByte(252);
    out.writeInt(values.length);
    for (int partition = 0; partition < values.length; partition++) {
      out.writeInt(partition);
      sized(out, null);
      sized(out, values[partition].getBytes(StandardCharsets.UTF_8));
      out.writeInt(0);
    }
    return frame.toByteArray();
  }

  private static OneInputStreamOperatorTestHarness<byte[], byte[]> harness(Topic topic) throws Exception {
    Letters letters = new Letters("letters", Map.of("client.id", "us", "group.id", "no producer's"), topic);
    return new OneInputStreamOperatorTestHarness<>(letters, BytePrimitiveArraySerializer.INSTANCE);
  }

  private static long counted(OneInputStreamOperatorTestHarness<byte[], byte[]> harness, String name) throws Exception {
    var field = Letters.class.getDeclaredField(name);
    field.setAccessible(true);
    return ((org.apache.flink.metrics.Counter) field.get(harness.getOperator())).getCount();
  }

  @Test
  void messagesAreSentOnceTheirCheckpointIsCompleteAndNotBefore() throws Exception {
    Topic topic = new Topic();
    try (var harness = harness(topic)) {
      harness.open();
      harness.processElement(frame("a", "b"), 0);
      harness.snapshot(1, 0);
      harness.processElement(frame("c"), 0);
      assertEquals(List.of(), topic.values());
      harness.notifyOfCompletedCheckpoint(1);
      assertEquals(List.of("a", "b"), topic.values());
      harness.snapshot(2, 0);
      assertEquals(List.of(), topic.values());
      harness.notifyOfCompletedCheckpoint(2);
      assertEquals(List.of("c"), topic.values());
      harness.notifyOfCompletedCheckpoint(2);
      assertEquals(List.of(), topic.values());
      assertEquals(3, counted(harness, "sent"));
    }
    assertTrue(topic.closed);
  }

  @Test
  void aLaterCheckpointBringsWhatAFailedOneHeldAndNoMore() throws Exception {
    Topic topic = new Topic();
    try (var harness = harness(topic)) {
      harness.open();
      harness.processElement(frame("a"), 0);
      harness.snapshot(1, 0);
      harness.processElement(frame("b"), 0);
      harness.snapshot(2, 0);
      harness.processElement(frame("c"), 0);
      harness.snapshot(3, 0);
      harness.notifyOfCompletedCheckpoint(2);
      assertEquals(List.of("a", "b"), topic.values());
    }
  }

  @Test
  void whatWasNotSentIsInTheStateAndIsSentAtTheNextStart() throws Exception {
    OperatorSubtaskState unsent, sent;
    Topic first = new Topic();
    try (var harness = harness(first)) {
      harness.open();
      harness.processElement(frame("a"), 0);
      harness.snapshot(1, 0);
      harness.processElement(frame("b"), 0);
      unsent = harness.snapshot(2, 0);
      harness.notifyOfCompletedCheckpoint(2);
      sent = harness.snapshot(3, 0);
      harness.processElement(frame("never"), 0);
    }
    assertEquals(List.of("a", "b"), first.values());
    Topic second = new Topic();
    try (var harness = harness(second)) {
      harness.setRestoredCheckpointId(2);
      harness.initializeState(unsent);
      harness.open();
      assertEquals(List.of("a", "b"), second.values(), "it can't be known whether they were sent");
      harness.processElement(frame("c"), 0);
      OperatorSubtaskState later = harness.snapshot(3, 0);
      Topic third = new Topic();
      try (var again = harness(third)) {
        again.initializeState(later);
        again.open();
        assertEquals(List.of("c"), third.values(), "of what was sent at the start, the state holds nothing");
      }
    }
    Topic fourth = new Topic();
    try (var harness = harness(fourth)) {
      harness.initializeState(sent);
      harness.open();
      assertEquals(List.of(), fourth.values());
    }
  }

  @Test
  void aMessageIsSentWithAllThatTheFrameSays() throws Exception {
    ByteArrayOutputStream frame = new ByteArrayOutputStream();
    DataOutputStream out = new DataOutputStream(frame);
    out.writeByte(252);
    out.writeInt(2);
    out.writeInt(7);
    sized(out, new byte[] {0, -1});
    sized(out, null);
    out.writeInt(3);
    for (byte[] part : new byte[][] {"ä".getBytes(StandardCharsets.UTF_8), null, {}, {}, {'a'}, {-128, 0}}) {
      sized(out, part);
    }
    out.writeInt(-1);
    sized(out, null);
    sized(out, new byte[0]);
    out.writeInt(0);
    Topic topic = new Topic();
    long before = System.currentTimeMillis();
    try (var harness = harness(topic)) {
      harness.open();
      harness.processElement(frame.toByteArray(), 0);
      harness.snapshot(1, 0);
      harness.notifyOfCompletedCheckpoint(1);
    }
    assertEquals(2, topic.sent.size());
    ProducerRecord<byte[], byte[]> message = topic.sent.get(0);
    assertEquals("letters", message.topic());
    assertEquals(7 % 4, message.partition());
    assertArrayEquals(new byte[] {0, -1}, message.key());
    assertNull(message.value());
    assertTrue(message.timestamp() >= before, "the time of sending, not of the record");
    Header[] headers = message.headers().toArray();
    assertEquals(List.of("ä", "", "a"), java.util.Arrays.stream(headers).map(Header::key).toList());
    assertNull(headers[0].value());
    assertArrayEquals(new byte[0], headers[1].value());
    assertArrayEquals(new byte[] {-128, 0}, headers[2].value());
    assertEquals(3, topic.sent.get(1).partition(), "of a record that has no partition, as Python sends it");
    assertNull(topic.sent.get(1).key());
    assertArrayEquals(new byte[0], topic.sent.get(1).value());
  }

  @Test
  void aMessageThatTheTopicRefusesHoldsUpNoOther() throws Exception {
    for (RuntimeException refusal :
        List.of(new RecordTooLargeException(), new InvalidRecordException("no key"), new InvalidTimestampException("old"))) {
      Topic topic = new Topic();
      topic.refusal = refusal;
      try (var harness = harness(topic)) {
        harness.open();
        harness.processElement(frame("a", "refused", "b"), 0);
        harness.snapshot(1, 0);
        harness.notifyOfCompletedCheckpoint(1);
        assertEquals(List.of("a", "b"), topic.values());
        assertEquals(2, counted(harness, "sent"));
        assertEquals(1, counted(harness, "refused"));
        harness.notifyOfCompletedCheckpoint(2);
        assertEquals(List.of(), topic.values());
      }
    }
  }

  @Test
  void anyOtherFailureEndsTheTaskAndTheMessageStaysInTheState() throws Exception {
    Topic topic = new Topic();
    topic.refusal = new TopicAuthorizationException("letters");
    OperatorSubtaskState state;
    try (var harness = harness(topic)) {
      harness.open();
      harness.processElement(frame("refused"), 0);
      state = harness.snapshot(1, 0);
      Exception error = assertThrows(ExecutionException.class, () -> harness.notifyOfCompletedCheckpoint(1));
      assertSame(topic.refusal, error.getCause());
    }
    Topic allowed = new Topic();
    try (var harness = harness(allowed)) {
      harness.initializeState(state);
      harness.open();
      assertEquals(List.of("refused"), allowed.values());
    }
  }

  @Test
  void framesOfOtherKindsArePassedOver() throws Exception {
    Topic topic = new Topic();
    try (var harness = harness(topic)) {
      harness.open();
      for (int first : new int[] {0, 1, 251, 254, 255}) {
        harness.processElement(new byte[] {(byte) first, 1}, 0);
      }
      harness.processElement(frame(), 0);
      harness.snapshot(1, 0);
      harness.notifyOfCompletedCheckpoint(1);
      assertEquals(List.of(), topic.values());
      assertEquals(List.of(), Operators.taken(harness));
    }
  }

  @Test
  void theProducerIsToldOnlyWhatItKnowsAndWaitsForAllReplicas() throws Exception {
    Topic topic = new Topic();
    try (var harness = harness(topic)) {
      harness.open();
      assertEquals("us", topic.properties.get("client.id"));
      assertNull(topic.properties.get("group.id"));
      assertEquals("all", topic.properties.get("acks"));
    }
  }

  @Test
  void anOperatorCanBeSentToATask() throws Exception {
    InstantiationUtil.clone(new Letters("letters", Map.of("a", "b")));
  }
}
