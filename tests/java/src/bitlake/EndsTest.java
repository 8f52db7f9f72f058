package bitlake;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.Map;
import java.util.Properties;
import java.util.function.IntPredicate;
import java.util.function.LongPredicate;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.errors.DisconnectException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class EndsTest {
  private Broker broker;
  private Ends ends;

  private void ask(Broker of, IntPredicate own) {
    broker = of;
    Map<String, String> kafka = Map.of("client.id", "us", "isolation.level", "read_committed", "no.client", "knows");
    ends = new Ends(broker.topic, kafka, own, 2, broker);
  }

  @AfterEach
  void close() throws Exception {
    if (ends != null) {
      ends.close();
      broker.awaitNoThreads();
    }
  }

  /** Waits until it is told that a partition ends at such an offset; gives when that was asked for. */
  private long await(int partition, LongPredicate offset) throws InterruptedException {
    while (true) {
      byte[] frame = ends.take().get(partition);
      if (frame != null) {
        ByteBuffer end = ByteBuffer.wrap(frame);
        assertEquals(24, frame.length);
        assertEquals(-2, end.getInt());
        assertEquals(partition, end.getInt());
        if (offset.test(end.getLong())) {
          return end.getLong();
        }
      }
      Thread.sleep(1);
    }
  }

  /** Waits until all that the topic holds now was asked for twice. */
  private void awaitTwice(int partition) throws InterruptedException {
    for (int i = 0; i < 3; i++) {
      await(partition, offset -> true);
    }
  }

  @Test
  void itIsToldWhereAPartitionEndsAndAsOfWhen() throws Exception {
    long before = System.currentTimeMillis() * 1000;
    Broker topic = new Broker("ends.a", 2);
    topic.append(1, 5);
    ask(topic, partition -> true);
    long asked = await(1, offset -> offset == 5);
    assertTrue(asked >= before && asked <= System.currentTimeMillis() * 1000);
    await(0, offset -> offset == 0);
    topic.append(1, 3);
    long appended = System.currentTimeMillis() * 1000;
    assertTrue(await(1, offset -> offset == 8) >= appended, "what was told is as of a time after the records came");
  }

  @Test
  void onlyOwnPartitionsAreAskedForAlsoNewOnes() throws Exception {
    Broker topic = new Broker("ends.b", 3);
    ask(topic, partition -> partition % 2 == 1);
    await(1, offset -> offset == 0);
    topic.append(3, 2);
    topic.append(4, 2);
    await(3, offset -> offset == 2);
    for (int i = 0; i < 20; i++) {
      Map<Integer, byte[]> told = ends.take();
      assertFalse(told.containsKey(0) || told.containsKey(2) || told.containsKey(4));
      Thread.sleep(1);
    }
  }

  @Test
  void whatWasTakenIsToldOnlyAfterItWasAskedForAgain() throws Exception {
    Broker topic = new Broker("ends.c", 1);
    broker = topic;
    ends = new Ends(topic.topic, Map.of(), partition -> true, 3_600_000, topic);
    await(0, offset -> offset == 0);
    assertEquals(Map.of(), ends.take());
  }

  @Test
  void offsetsWithoutRecordsAreNotWaitedFor() throws Exception {
    Broker topic = new Broker("ends.d", 1);
    topic.append(0, 7);
    topic.appendNothing(0, 1);
    ask(topic, partition -> true);
    await(0, offset -> offset == 7);
    topic.append(0, 1);
    await(0, offset -> offset == 9);
    topic.appendNothing(0, 5000);
    await(0, offset -> offset == 5009);
    await(0, offset -> offset == 9);
  }

  @Test
  void aPartitionThatHoldsNoRecordEndsWhereItBegins() throws Exception {
    Broker topic = new Broker("ends.e", 2);
    topic.logs.get(0).begin = topic.logs.get(0).end = 40;
    topic.appendNothing(0, 100);
    ask(topic, partition -> true);
    await(0, offset -> offset == 40);
  }

  @Test
  void recordsThatWereDeletedAreNotLookedFor() throws Exception {
    Broker topic = new Broker("ends.f", 1);
    topic.append(0, 10);
    topic.logs.get(0).begin = 10;
    topic.logs.get(0).records.clear();
    topic.appendNothing(0, 30);
    ask(topic, partition -> true);
    await(0, offset -> offset == 10);
  }

  @Test
  void whileATransactionIsOpenNoEarlierEndIsTold() throws Exception {
    Broker topic = new Broker("ends.g", 1);
    topic.append(0, 3);
    topic.logs.get(0).open = 3;
    topic.append(0, 2);
    ask(topic, partition -> true);
    await(0, offset -> offset == 5);
    while (topic.reads < 2) {
      await(0, offset -> offset == 5);
    }
    await(0, offset -> offset == 5);
    synchronized (topic) {
      topic.logs.get(0).records.removeIf(offset -> offset >= 3); // aborted
      topic.logs.get(0).open = Long.MAX_VALUE;
      topic.appendNothing(0, 1);
    }
    await(0, offset -> offset == 3);
  }

  @Test
  void aTopicThatStandsStillIsReadOnce() throws Exception {
    Broker topic = new Broker("ends.h", 1);
    topic.append(0, 3);
    ask(topic, partition -> true);
    while (topic.reads == 0) {
      await(0, offset -> offset == 3);
    }
    awaitTwice(0);
    assertEquals(1, topic.reads);
  }

  @Test
  void brokersThatAreAwayAreAskedAgain() throws Exception {
    Broker topic = new Broker("ends.i", 1);
    topic.away = new DisconnectException("away");
    ask(topic, partition -> true);
    while (true) {
      synchronized (topic) {
        if (topic.asked.size() > 2) {
          break;
        }
      }
      Thread.sleep(1);
    }
    assertEquals(Map.of(), ends.take());
    synchronized (topic) {
      topic.append(0, 4);
      topic.away = null;
    }
    await(0, offset -> offset == 4);
  }

  @Test
  void clientsAreToldOnlyWhatTheyKnowAndCommitNoOffsets() throws Exception {
    Broker topic = new Broker("ends.j", 1);
    topic.append(0, 1);
    ask(topic, partition -> true);
    while (topic.reads == 0) {
      await(0, offset -> offset == 1);
    }
    synchronized (topic) {
      Properties admin = topic.asked.get(0), consumer = topic.asked.get(1);
      assertEquals("us", admin.get("client.id"));
      assertNull(admin.get("isolation.level"));
      assertEquals("read_committed", consumer.get("isolation.level"));
      assertNull(consumer.get("no.client"));
      assertEquals("false", consumer.get("enable.auto.commit"));
      assertNotNull(consumer.get("auto.offset.reset"));
    }
  }

  @Test
  void itsThreadEndsWhenItIsClosed() throws Exception {
    ask(new Broker("ends.k", 1), partition -> true);
    await(0, offset -> offset == 0);
    ends.close();
    broker.awaitNoThreads();
  }
}
