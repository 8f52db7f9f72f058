package bitlake;

import java.io.Closeable;
import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.iceberg.Snapshot;
import org.apache.iceberg.Table;
import org.apache.iceberg.catalog.Catalog;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.flink.CatalogLoader;

/**
 * Keeps a job from writing to a dataset that another writer has taken, or from a place that the tables have left.
 *
 * <p>The lease is a property of the dataset's first table. Every commit of the job is checked against it. A job that
 * has lost it still commits the rest of a checkpoint that some tables have: its successor waits for that.
 */
public final class Fence implements Serializable, Closeable {
  private static final long serialVersionUID = 1L;

  private static final String LEASE = "bitlake.lease";
  private static final String DATASET = "bitlake.dataset";
  private static final String RUN = "bitlake.flink";
  private static final String EPOCH = "bitlake.epoch";
  static final String CHECKPOINT = "flink.max-committed-checkpoint-id";
  static final String OPERATOR = "flink.operator-id";

  /** For how long the rest of a checkpoint is waited for: other sinks of the job are at it. */
  private static final long PATIENCE_MILLIS = 30_000;

  private static final long LOOK_MILLIS = 1_000;

  /** After so many looks at tables that are all at one checkpoint, no commit that passed the check is on its way. */
  private static final int LOOKS = 10;

  private final CatalogLoader catalog;
  private final String dataset;
  private final String owner;
  private final String run;
  private final String first;
  private final TreeMap<String, Integer> sinks;
  private transient Catalog loaded;

  /**
   * @param owner as whom the job holds the lease
   * @param run the line of jobs that it goes on with
   * @param first the table that has the lease
   * @param sinks by table, how many of the job's sinks write to it
   */
  public Fence(
      CatalogLoader catalog, String dataset, String owner, String run, String first, Map<String, Integer> sinks) {
    this.catalog = catalog;
    this.dataset = dataset;
    this.owner = owner;
    this.run = run;
    this.first = first;
    this.sinks = new TreeMap<>(sinks);
  }

  /**
   * Stops the job if a snapshot must not be committed.
   *
   * @param table where to
   * @param properties of the table
   */
  void check(String table, Map<String, String> properties, Snapshot added) {
    try {
      String lost = lost(table.equals(first) ? properties : table(first).properties());
      if (lost != null && (added == null || !isOurs(added) || !begun(checkpoint(added)))) {
        throw new Stop(lost);
      }
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(error);
    }
  }

  /** Why the job does not hold the lease; null if it does. */
  private String lost(Map<String, String> properties) {
    String text = properties.get(LEASE), end = ": this job writes no more to it";
    if (text == null) {
      return "'" + dataset + "': its table was made anew" + end;
    }
    JsonNode lease;
    try {
      lease = new ObjectMapper().readTree(text);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    if (!lease.path("owner").asText().equals(owner)) {
      return "'" + dataset + "': " + lease.path("holder").asText() + " has taken the lease" + end;
    }
    return lease.path("until").asLong() > 0 ? null : "'" + dataset + "': the lease was given up" + end;
  }

  /**
   * Whether a table has a checkpoint of ours already; waits while others have later ones than some, and for commits
   * that passed the check: the successor makes them conflict (`LakeSink.overtake_flink`).
   */
  private boolean begun(long checkpoint) throws InterruptedException {
    int looks = 0;
    for (long waited = 0; waited < PATIENCE_MILLIS; waited += LOOK_MILLIS) {
      Thread.sleep(LOOK_MILLIS);
      TreeSet<Long> done = new TreeSet<>();
      for (Map.Entry<String, Integer> entry : sinks.entrySet()) {
        Map<String, Long> byOperator = committed(table(entry.getKey()));
        if (byOperator == null) {
          return false;
        }
        done.addAll(byOperator.values());
        if (byOperator.size() < entry.getValue()) {
          done.add(0L);
        }
      }
      if (done.last() >= checkpoint) {
        return true;
      }
      looks = done.size() == 1 ? looks + 1 : 0;
      if (looks == LOOKS) {
        return false;
      }
    }
    return false;
  }

  /** By operator, the last checkpoint of ours that a table has; null if others wrote to the dataset since. */
  private Map<String, Long> committed(Table table) {
    Map<String, Long> found = new HashMap<>();
    Snapshot snapshot = table.currentSnapshot();
    while (snapshot != null) {
      Map<String, String> summary = snapshot.summary();
      if (summary != null && dataset.equals(summary.get(DATASET))) {
        if (isOurs(snapshot)) {
          found.merge(summary.get(OPERATOR), checkpoint(snapshot), Math::max);
        } else if (found.isEmpty() && (summary.containsKey(EPOCH) || summary.containsKey(RUN))) {
          return null;
        }
      }
      snapshot = snapshot.parentId() == null ? null : table.snapshot(snapshot.parentId());
    }
    return found;
  }

  /**
   * Stops the job if the tables hold a later checkpoint than it goes on from: the sink would take the next ones for
   * committed already, and drop their rows (iceberg #10892, #18098).
   *
   * @param restored the checkpoint; 0 if there is none
   */
  void checkRestored(long restored) {
    String lost = lost(table(first).properties());
    if (lost != null) {
      throw new Stop(lost);
    }
    for (String name : sinks.keySet()) {
      for (Snapshot snapshot : table(name).snapshots()) {
        long committed = isOurs(snapshot) ? checkpoint(snapshot) : 0;
        if (committed > restored) {
          throw new Stop(name + " holds checkpoint " + committed + ", but the job goes on from " + restored
              + ": what was between them would be lost or doubled; `bitlake submit` finds what to go on from");
        }
      }
    }
  }

  boolean isOurs(Snapshot snapshot) {
    Map<String, String> summary = snapshot.summary();
    return summary != null
        && dataset.equals(summary.get(DATASET))
        && summary.getOrDefault(RUN, "").startsWith("[\"" + run + "\",");
  }

  static long checkpoint(Snapshot snapshot) {
    return Long.parseLong(snapshot.summary().getOrDefault(CHECKPOINT, "0"));
  }

  Fence copy() {
    return new Fence(catalog, dataset, owner, run, first, sinks);
  }

  private Table table(String name) {
    if (loaded == null) {
      loaded = catalog.loadCatalog();
    }
    return loaded.loadTable(TableIdentifier.parse(name));
  }

  @Override
  public void close() throws IOException {
    if (loaded instanceof Closeable closeable) {
      closeable.close();
    }
    loaded = null;
  }
}
