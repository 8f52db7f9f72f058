package bitlake;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.IntPredicate;
import java.util.stream.Collectors;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.admin.Admin;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.Consumer;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.KafkaException;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.errors.InterruptException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Asks again and again where partitions of a topic end, on a thread of its own.
 *
 * <p>Who has read a partition up to there has read all that it held when it was asked for. Since Flink's source does not
 * tell of offsets without records (of transactions' marks and of what was aborted), an end that stays is looked at: the
 * offset after its last record is told then.
 */
final class Ends implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Ends.class);
  private static final Duration PATIENCE = Duration.ofSeconds(20);
  private static final Duration LOOK = Duration.ofSeconds(1);

  /** Records of a transaction that is open can't be read yet. */
  private static final long UNREADABLE = Long.MAX_VALUE;

  private final String topic;
  private final Map<String, String> properties;
  private final IntPredicate own;
  private final long everyMillis;
  private final Clients clients;
  private final Thread thread;
  private final Map<TopicPartition, Long> ends = new HashMap<>();
  private final Map<TopicPartition, Long> afterLast = new HashMap<>();
  private final Map<Integer, byte[]> told = new TreeMap<>();

  /**
   * @param properties client properties by Kafka's names
   * @param own the partitions to ask for
   */
  Ends(String topic, Map<String, String> properties, IntPredicate own, long everyMillis, Clients clients) {
    this.topic = topic;
    this.properties = properties;
    this.own = own;
    this.everyMillis = everyMillis;
    this.clients = clients;
    thread = new Thread(this::run, "bitlake-ends-" + topic);
    thread.setDaemon(true);
    thread.start();
  }

  /** Frames of what was learnt since the last call, by partition: -2, the partition, where it ends, when it did (µs). */
  Map<Integer, byte[]> take() {
    synchronized (told) {
      Map<Integer, byte[]> taken = new TreeMap<>(told);
      told.clear();
      return taken;
    }
  }

  @Override
  public void close() {
    thread.interrupt();
  }

  private void run() {
    try {
      while (true) {
        try (Admin admin = clients.admin(known(AdminClientConfig.configNames()))) {
          while (true) {
            ask(admin);
            Thread.sleep(everyMillis);
          }
        } catch (ExecutionException | TimeoutException | KafkaException e) {
          if (e instanceof InterruptException) {
            return;
          }
          LOG.warn("where {} ends is not known now: partitions without records hold the horizon back: {}", topic, e.toString());
          Thread.sleep(everyMillis);
        }
      }
    } catch (InterruptedException closed) {
      // It is the end.
    }
  }

  private void ask(Admin admin) throws InterruptedException, ExecutionException, TimeoutException {
    var described = admin.describeTopics(Set.of(topic)).topicNameValues().get(topic);
    Map<TopicPartition, OffsetSpec> asked =
        described.get(PATIENCE.toMillis(), TimeUnit.MILLISECONDS).partitions().stream()
            .filter(one -> own.test(one.partition()))
            .collect(Collectors.toMap(one -> new TopicPartition(topic, one.partition()), one -> OffsetSpec.latest()));
    long now = System.currentTimeMillis() * 1000;
    // Of all records: those of open transactions are still to come.
    var found = admin.listOffsets(asked).all().get(PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
    Map<TopicPartition, Long> stayed = new HashMap<>();
    found.forEach(
        (partition, answer) -> {
          long end = answer.offset();
          Long before = ends.put(partition, end);
          if (before == null || before != end) {
            afterLast.remove(partition);
          } else if (!afterLast.containsKey(partition)) {
            stayed.put(partition, end);
          }
        });
    if (!stayed.isEmpty()) {
      look(stayed);
    }
    synchronized (told) {
      for (TopicPartition one : found.keySet()) {
        long end = afterLast.getOrDefault(one, ends.get(one));
        ByteBuffer frame = ByteBuffer.allocate(24).putInt(-2).putInt(one.partition()).putLong(end).putLong(now);
        told.put(one.partition(), frame.array());
      }
    }
  }

  /** Find the last records of partitions. */
  private void look(Map<TopicPartition, Long> stayed) {
    Properties known = known(ConsumerConfig.configNames());
    known.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, "false");
    known.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "none");
    try (Consumer<byte[], byte[]> consumer = clients.consumer(known)) {
      Map<TopicPartition, Long> begins = consumer.beginningOffsets(stayed.keySet());
      stayed.forEach(
          (partition, end) -> {
            consumer.assign(List.of(partition));
            long begin = begins.get(partition);
            long from = end;
            long last = -1;
            for (long more = 1; last < 0 && from > begin; more *= 32) {
              from = Math.max(begin, end - more);
              last = lastRecord(consumer, partition, from, end);
            }
            if (last != UNREADABLE) {
              afterLast.put(partition, last < 0 ? begin : last + 1);
            }
          });
    }
  }

  /** The last record in a range of offsets; -1: none is there. */
  private static long lastRecord(
      Consumer<byte[], byte[]> consumer, TopicPartition partition, long from, long end) {
    long deadline = System.nanoTime() + LOOK.toNanos();
    long last = -1;
    consumer.seek(partition, from);
    while (consumer.position(partition) < end) {
      if (System.nanoTime() > deadline) {
        return UNREADABLE;
      }
      for (ConsumerRecord<byte[], byte[]> record : consumer.poll(LOOK).records(partition)) {
        last = record.offset() < end ? record.offset() : last;
      }
    }
    return last;
  }

  private Properties known(Set<String> names) {
    Properties known = new Properties();
    properties.forEach(
        (name, value) -> {
          if (names.contains(name)) {
            known.put(name, value);
          }
        });
    return known;
  }
}
