package bitlake;

import java.io.Closeable;
import java.io.IOException;
import java.io.Serializable;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.iceberg.HasTableOperations;
import org.apache.iceberg.Snapshot;
import org.apache.iceberg.TableMetadata;
import org.apache.iceberg.catalog.Catalog;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.flink.CatalogLoader;

/**
 * Keeps a job from writing to a dataset that another writer has taken, or from a place that the tables have left.
 *
 * <p>Every commit of the job is checked against the writer token in the metadata that its compare-and-swap is based on.
 * A job that was fenced off still commits the rest of a checkpoint that some tables have: its successor waits for that.
 */
public final class Fence implements Serializable, Closeable {
  private static final long serialVersionUID = 1L;

  /** For how long the rest of a checkpoint is waited for: other sinks of the job are at it. */
  private static final long PATIENCE_MILLIS = 30_000;

  private static final long LOOK_MILLIS = 1_000;

  /** After so many looks at tables that are all at one checkpoint, no commit that passed the check is on its way. */
  private static final int LOOKS = 10;

  private final CatalogLoader catalog;
  private final String dataset;
  private final String tag;
  private final long token;
  private final String run;
  private final long start;
  private final TreeMap<String, Integer> sinks;
  private final long lookMillis;
  private transient Catalog loaded;

  /**
   * @param tag what the tags of the dataset's writers begin with
   * @param token the job's writer token
   * @param run the line of jobs that it goes on with
   * @param start the epoch that the run began with
   * @param sinks by table, how many of the job's sinks write to it
   */
  public Fence(
      CatalogLoader catalog,
      String dataset,
      String tag,
      long token,
      String run,
      long start,
      Map<String, Integer> sinks) {
    this(catalog, dataset, tag, token, run, start, sinks, LOOK_MILLIS);
  }

  Fence(
      CatalogLoader catalog,
      String dataset,
      String tag,
      long token,
      String run,
      long start,
      Map<String, Integer> sinks,
      long lookMillis) {
    this.catalog = catalog;
    this.dataset = dataset;
    this.tag = tag;
    this.token = token;
    this.run = run;
    this.start = start;
    this.sinks = new TreeMap<>(sinks);
    this.lookMillis = lookMillis;
  }

  /**
   * Stops the job if a snapshot must not be committed.
   *
   * @param base of the table, as the commit finds it
   */
  void check(TableMetadata base, Snapshot added) {
    try {
      String lost = lost(base);
      if (lost != null && (added == null || !isOurs(added) || !begun(Ledger.checkpoint(added.summary())))) {
        throw new Stop(lost);
      }
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(error);
    }
  }

  /** Why the job may not write to the dataset any more; null if it may. */
  private String lost(TableMetadata metadata) {
    Ledger ledger = new Ledger(metadata, dataset, tag);
    long theirs = ledger.token();
    if (theirs == token) {
      return null;
    }
    String what = theirs == 0 ? "its table was made anew" : ledger.writer() + " has taken it over";
    return "'" + dataset + "': " + what + " (writer token " + theirs + ", not " + token + "): this job writes no more to it";
  }

  /**
   * Whether a table has a checkpoint of ours already; waits while others have later ones than some, and for commits
   * that passed the check: who takes the dataset over raises the token by a snapshot, with which they conflict.
   */
  private boolean begun(long checkpoint) throws InterruptedException {
    int looks = 0;
    for (long waited = 0; waited < PATIENCE_MILLIS; waited += LOOK_MILLIS) {
      Thread.sleep(lookMillis);
      TreeSet<Long> done = new TreeSet<>();
      for (Map.Entry<String, Integer> entry : sinks.entrySet()) {
        Map<String, Long> byOperator = ledger(entry.getKey()).checkpoints(run, start);
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

  /** Whether a table has a checkpoint of ours from the same sink already, as it stands. */
  boolean has(TableMetadata base, Snapshot added) {
    Map<String, Long> byOperator = new Ledger(base, dataset, tag).checkpoints(run, start);
    String operator = added.summary().getOrDefault(Ledger.OPERATOR, "");
    return byOperator != null && byOperator.getOrDefault(operator, -1L) >= Ledger.checkpoint(added.summary());
  }

  /** The tag that a commit moves to its snapshot: one for each sink, since all of them tell the position. */
  String tag(Snapshot added) {
    return tag + "." + added.summary().getOrDefault(Ledger.OPERATOR, "");
  }

  /**
   * Stops the job if it was fenced off, or if the tables hold a later checkpoint than it goes on from: the sink would
   * take the next ones for committed already, and drop their rows (iceberg #10892, #18098).
   *
   * @param restored the checkpoint; 0 if there is none
   */
  void checkRestored(long restored) {
    for (String name : sinks.keySet()) {
      Ledger ledger = ledger(name);
      String lost = lost(current(name));
      if (lost != null) {
        throw new Stop(lost);
      }
      Map<String, Long> byOperator = ledger.checkpoints(run, start);
      long committed = byOperator == null ? 0 : byOperator.values().stream().mapToLong(Long::longValue).max().orElse(0);
      if (committed > restored) {
        throw new Stop(name + " holds checkpoint " + committed + ", but the job goes on from " + restored
            + ": what was between them would be lost or doubled; `bitlake submit` finds what to go on from");
      }
    }
  }

  boolean isOurs(Snapshot snapshot) {
    return Ledger.isOf(snapshot.summary(), dataset) && Ledger.isOfRun(snapshot.summary(), run);
  }

  Fence copy() {
    return new Fence(catalog, dataset, tag, token, run, start, sinks, lookMillis);
  }

  private Ledger ledger(String name) {
    return new Ledger(current(name), dataset, tag);
  }

  private TableMetadata current(String name) {
    if (loaded == null) {
      loaded = catalog.loadCatalog();
    }
    return ((HasTableOperations) loaded.loadTable(TableIdentifier.parse(name))).operations().current();
  }

  @Override
  public void close() throws IOException {
    if (loaded instanceof Closeable closeable) {
      closeable.close();
    }
    loaded = null;
  }
}
