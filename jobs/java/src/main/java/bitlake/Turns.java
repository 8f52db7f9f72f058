package bitlake;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.ReentrantLock;
import org.apache.iceberg.SnapshotUpdate;

/**
 * Has the commits of a process to one table take turns.
 *
 * <p>All datasets of a job end a checkpoint in the same moment, and share two tables: of a dozen commits at once, one
 * would win and the others begin anew, until some have lost too often.
 */
final class Turns {
  private static final ConcurrentHashMap<String, ReentrantLock> BY_TABLE = new ConcurrentHashMap<>();

  private Turns() {}

  /** An update whose commit, tried again as often as it takes, waits for its turn. */
  static <T extends SnapshotUpdate<T>> T inTurn(String table, Class<T> kind, T update) {
    ReentrantLock turn = BY_TABLE.computeIfAbsent(table, name -> new ReentrantLock(true));
    Object waiting = Proxy.newProxyInstance(kind.getClassLoader(), new Class<?>[] {kind}, (self, method, arguments) -> {
      boolean commits = method.getName().equals("commit");
      if (commits) {
        take(turn);
      }
      try {
        Object result = method.invoke(update, arguments);
        return result == update ? self : result;
      } catch (InvocationTargetException error) {
        throw error.getCause();
      } finally {
        if (commits) {
          turn.unlock();
        }
      }
    });
    return kind.cast(waiting);
  }

  private static void take(ReentrantLock turn) {
    try {
      turn.lockInterruptibly();
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(error);
    }
  }
}
