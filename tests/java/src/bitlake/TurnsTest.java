package bitlake;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import org.apache.iceberg.AppendFiles;
import org.apache.iceberg.Snapshot;
import org.apache.iceberg.Table;
import org.apache.iceberg.exceptions.CommitFailedException;
import org.junit.jupiter.api.Test;

class TurnsTest {
  private static final String BONDS = "main.bonds";

  /** An update whose commit does something of ours. */
  private static AppendFiles update(String table, Callable<Void> commit) {
    AppendFiles update =
        (AppendFiles)
            Proxy.newProxyInstance(
                TurnsTest.class.getClassLoader(),
                new Class<?>[] {AppendFiles.class},
                (self, method, arguments) -> method.getName().equals("commit") ? commit.call() : self);
    return Turns.inTurn(table, AppendFiles.class, update);
  }

  private static FutureTask<Void> started(AppendFiles update) {
    FutureTask<Void> task = new FutureTask<>(update::commit, null);
    Thread thread = new Thread(task, "turns");
    thread.setDaemon(true);
    thread.start();
    return task;
  }

  private static void awaitWaiting(Thread thread) throws InterruptedException {
    while (thread.getState() != Thread.State.WAITING) {
      Thread.sleep(1);
    }
  }

  @Test
  void commitsOfManyThreadsAllSucceedAtTheirFirstTry() throws Exception {
    try (Lake lake = new Lake()) {
      Table table = lake.make(BONDS, Map.of("commit.retry.num-retries", "0"));
      ExecutorService pool = Executors.newFixedThreadPool(8);
      List<Future<?>> all = new ArrayList<>();
      for (int number = 0; number < 80; number++) {
        String name = Integer.toString(number);
        all.add(
            pool.submit(
                () ->
                    Turns.inTurn(BONDS, AppendFiles.class, lake.table(BONDS).newAppend())
                        .appendFile(lake.file())
                        .set("number", name)
                        .commit()));
      }
      pool.shutdown();
      for (Future<?> one : all) {
        one.get();
      }
      table.refresh();
      Set<String> numbers = new TreeSet<>();
      for (Snapshot one : table.snapshots()) {
        numbers.add(one.summary().get("number"));
      }
      assertEquals(80, numbers.size());
      assertEquals("80", table.currentSnapshot().summary().get("total-records"));
    }
  }

  @Test
  void aCommitBeginsWhenTheOneBeforeHasEnded() throws Exception {
    CountDownLatch begun = new CountDownLatch(1), end = new CountDownLatch(1);
    List<String> order = new ArrayList<>();
    Future<Void> first =
        started(
            update(
                "turns.a",
                () -> {
                  begun.countDown();
                  end.await();
                  order.add("first");
                  return null;
                }));
    begun.await();
    AppendFiles later = update("turns.a", () -> {
      order.add("second");
      return null;
    });
    FutureTask<Void> second = new FutureTask<>(() -> later.set("a", "b").set("c", "d").commit(), null);
    Thread thread = new Thread(second);
    thread.start();
    awaitWaiting(thread);
    assertFalse(second.isDone(), "also after calls that give the update itself");
    end.countDown();
    first.get();
    second.get();
    assertEquals(List.of("first", "second"), order);
  }

  @Test
  void tablesDoNotWaitForEachOther() throws Exception {
    CountDownLatch begun = new CountDownLatch(1), end = new CountDownLatch(1);
    Future<Void> first =
        started(
            update(
                "turns.b",
                () -> {
                  begun.countDown();
                  end.await();
                  return null;
                }));
    begun.await();
    started(update("turns.c", () -> null)).get();
    assertFalse(first.isDone());
    end.countDown();
    first.get();
  }

  @Test
  void aFailureIsTheUpdatesOwnAndEndsItsTurn() throws Exception {
    CommitFailedException failure = new CommitFailedException("conflict");
    AppendFiles fails =
        update(
            "turns.d",
            () -> {
              throw failure;
            });
    assertSame(failure, assertThrows(CommitFailedException.class, fails::commit));
    started(update("turns.d", () -> null)).get();
  }

  @Test
  void whoIsInterruptedWhileItWaitsDoesNotCommit() throws Exception {
    CountDownLatch begun = new CountDownLatch(1), end = new CountDownLatch(1);
    Future<Void> first =
        started(
            update(
                "turns.e",
                () -> {
                  begun.countDown();
                  end.await();
                  return null;
                }));
    begun.await();
    boolean[] committed = {false}, stays = {false};
    AppendFiles update =
        update(
            "turns.e",
            () -> {
              committed[0] = true;
              return null;
            });
    FutureTask<Void> second =
        new FutureTask<>(
            () -> {
              try {
                update.commit();
              } finally {
                stays[0] = Thread.currentThread().isInterrupted();
              }
              return null;
            });
    Thread thread = new Thread(second);
    thread.start();
    awaitWaiting(thread);
    thread.interrupt();
    ExecutionException error = assertThrows(ExecutionException.class, second::get);
    assertInstanceOf(InterruptedException.class, error.getCause().getCause());
    assertTrue(stays[0], "that it was interrupted is still known");
    assertFalse(committed[0]);
    end.countDown();
    first.get();
    started(update("turns.e", () -> null)).get();
  }

  @Test
  void oneThreadMayCommitAgainInItsTurn() throws Exception {
    AppendFiles inner = update("turns.f", () -> null);
    started(
            update(
                "turns.f",
                () -> {
                  inner.commit();
                  return null;
                }))
        .get();
  }
}
