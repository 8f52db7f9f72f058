package bitlake;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.NavigableSet;
import java.util.Optional;
import java.util.Properties;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.admin.Admin;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.admin.DescribeTopicsResult;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.admin.ListOffsetsResult;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.admin.TopicDescription;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.Consumer;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.KafkaException;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.KafkaFuture;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.Node;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartitionInfo;

/** A topic that can be asked where it ends, and read: offsets without records are marks of transactions, or aborted. */
final class Broker extends Clients {
  private static final long serialVersionUID = 1L;

  /** One partition. */
  static final class Log {
    final NavigableSet<Long> records = new TreeSet<>();
    long begin;
    long end;

    /** Where the first transaction that is open begins. */
    long open = Long.MAX_VALUE;
  }

  final String topic;
  final Map<Integer, Log> logs = new TreeMap<>();
  final List<Properties> asked = new ArrayList<>();

  /** How often somebody read the topic. */
  volatile int reads;

  /** What asking fails with. */
  volatile KafkaException away;

  Broker(String topic, int partitions) {
    this.topic = topic;
    for (int partition = 0; partition < partitions; partition++) {
      logs.put(partition, new Log());
    }
  }

  /** Appends records to a partition. */
  synchronized void append(int partition, int records) {
    Log log = logs.computeIfAbsent(partition, number -> new Log());
    for (int i = 0; i < records; i++) {
      log.records.add(log.end++);
    }
  }

  /** Appends offsets without records. */
  synchronized void appendNothing(int partition, long offsets) {
    logs.get(partition).end += offsets;
  }

  /** Waits until the thread that asks for the topic's ends is gone. */
  void awaitNoThreads() throws InterruptedException {
    for (Thread one : Thread.getAllStackTraces().keySet()) {
      if (one.getName().equals("bitlake-ends-" + topic)) {
        one.join();
      }
    }
  }

  @Override
  synchronized Admin admin(Properties properties) {
    asked.add(properties);
    return made(
        Admin.class,
        (self, method, arguments) -> {
          synchronized (this) {
            if (away != null) {
              throw away;
            }
            return switch (method.getName()) {
              case "describeTopics" -> described();
              case "listOffsets" -> listed((Map<?, ?>) arguments[0]);
              case "close" -> null;
              default -> throw new UnsupportedOperationException(method.getName());
            };
          }
        });
  }

  private DescribeTopicsResult described() {
    Node node = new Node(0, "broker", 1);
    List<TopicPartitionInfo> partitions =
        logs.keySet().stream().map(number -> new TopicPartitionInfo(number, node, List.of(node), List.of(node))).toList();
    var description = KafkaFuture.completedFuture(new TopicDescription(topic, false, partitions));
    return new Described(Map.of(topic, description));
  }

  private static final class Described extends DescribeTopicsResult {
    Described(Map<String, KafkaFuture<TopicDescription>> byName) {
      super(null, byName);
    }
  }

  private ListOffsetsResult listed(Map<?, ?> partitions) {
    Map<TopicPartition, KafkaFuture<ListOffsetsResult.ListOffsetsResultInfo>> found = new HashMap<>();
    for (Object one : partitions.keySet()) {
      TopicPartition partition = (TopicPartition) one;
      var info = new ListOffsetsResult.ListOffsetsResultInfo(logs.get(partition.partition()).end, -1, Optional.empty());
      found.put(partition, KafkaFuture.completedFuture(info));
    }
    return new ListOffsetsResult(found);
  }

  @Override
  synchronized Consumer<byte[], byte[]> consumer(Properties properties) {
    asked.add(properties);
    reads++;
    return made(Consumer.class, new Reading());
  }

  private final class Reading implements InvocationHandler {
    private TopicPartition assigned;
    private long position;

    @Override
    public Object invoke(Object self, java.lang.reflect.Method method, Object[] arguments) throws Throwable {
      synchronized (Broker.this) {
        switch (method.getName()) {
          case "beginningOffsets":
            Map<TopicPartition, Long> begins = new HashMap<>();
            ((Collection<?>) arguments[0])
                .forEach(one -> begins.put((TopicPartition) one, logs.get(((TopicPartition) one).partition()).begin));
            return begins;
          case "assign":
            assigned = (TopicPartition) ((Collection<?>) arguments[0]).iterator().next();
            return null;
          case "seek":
            position = (Long) arguments[1];
            return null;
          case "position":
            return position;
          case "poll":
            return polled();
          case "close":
            return null;
          default:
            throw new UnsupportedOperationException(method.getName());
        }
      }
    }

    /** At most three records; the position goes on behind what is no record. */
    private ConsumerRecords<byte[], byte[]> polled() throws InterruptedException {
      Log log = logs.get(assigned.partition());
      if (position < log.begin) {
        throw new IllegalStateException("read before the log begins");
      }
      long last = Math.min(log.end, log.open);
      List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
      for (long offset : log.records.tailSet(position)) {
        if (offset < last && found.size() < 3) {
          found.add(new ConsumerRecord<>(topic, assigned.partition(), offset, null, new byte[0]));
        }
      }
      if (found.size() == 3) {
        position = found.get(2).offset() + 1;
      } else if (position < last) {
        position = last;
      } else {
        Broker.this.wait(1);
      }
      return found.isEmpty() ? ConsumerRecords.empty() : new ConsumerRecords<>(Map.of(assigned, found));
    }
  }

  @SuppressWarnings("unchecked")
  private static <T> T made(Class<? super T> kind, InvocationHandler handler) {
    return (T) Proxy.newProxyInstance(kind.getClassLoader(), new Class<?>[] {kind}, handler);
  }
}
