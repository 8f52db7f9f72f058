package bitlake;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.iceberg.Snapshot;
import org.apache.iceberg.TableMetadata;

/**
 * What a table's snapshots tell of a dataset's writers: the rule of `pipeline.sink.ledger`, which passes the same
 * cases (tests/cases/ledger.json).
 */
final class Ledger {
  static final String DATASET = "bitlake.dataset";
  static final String EPOCH = "bitlake.epoch";
  static final String RUN = "bitlake.flink";
  static final String TOKEN = "bitlake.writer-token";
  static final String WRITER = "bitlake.writer";
  static final String CLAIM = "bitlake.claim";
  static final String CHECKPOINT = "flink.max-committed-checkpoint-id";
  static final String OPERATOR = "flink.operator-id";

  private final TableMetadata metadata;
  private final String dataset;
  private final String tag;

  /**
   * @param dataset its name
   * @param tag what the tags of its writers begin with
   */
  Ledger(TableMetadata metadata, String dataset, String tag) {
    this.metadata = metadata;
    this.dataset = dataset;
    this.tag = tag;
  }

  /** What the snapshots of the dataset's line say that are the dataset's, the newest first. */
  List<Map<String, String>> told() {
    List<Map<String, String>> found = new ArrayList<>();
    Snapshot current = metadata.currentSnapshot();
    long lowest = 0;
    while (current != null) {
      add(found, current);
      lowest = current.sequenceNumber();
      Long parent = current.parentId();
      current = parent == null ? null : metadata.snapshot(parent);
    }
    below(lowest).forEach(snapshot -> add(found, snapshot));
    return found;
  }

  /** How the line goes on below the last ancestor that expiry has left. */
  private List<Snapshot> below(long lowest) {
    Set<Long> tagged =
        metadata.refs().entrySet().stream()
            .filter(ref -> (ref.getKey() + ".").startsWith(tag + "."))
            .map(ref -> ref.getValue().snapshotId())
            .collect(Collectors.toSet());
    return metadata.snapshots().stream()
        .filter(snapshot -> snapshot.sequenceNumber() < lowest)
        .filter(snapshot -> tagged.isEmpty() || tagged.contains(snapshot.snapshotId()))
        .sorted(Comparator.comparingLong(Snapshot::sequenceNumber).reversed())
        .toList();
  }

  private void add(List<Map<String, String>> found, Snapshot snapshot) {
    if (isOf(snapshot.summary(), dataset)) {
      found.add(snapshot.summary());
    }
  }

  static boolean isOf(Map<String, String> summary, String dataset) {
    return summary != null && dataset.equals(summary.get(DATASET));
  }

  /** The writer token; 0 if none was raised. */
  long token() {
    return token(lastWriter());
  }

  /** Who raised the writer token last. */
  String writer() {
    return lastWriter().getOrDefault(WRITER, "another process");
  }

  /** What the snapshot with the highest token says; the claim that raised it ends the search. */
  private Map<String, String> lastWriter() {
    Map<String, String> last = Map.of();
    for (Map<String, String> summary : told()) {
      boolean names = token(summary) == token(last) && summary.containsKey(WRITER); // a job's commits don't name it
      if (token(summary) > token(last) || names) {
        last = summary;
      }
      if (summary.containsKey(CLAIM)) {
        break;
      }
    }
    return last;
  }

  private static long token(Map<String, String> summary) {
    return Long.parseLong(summary.getOrDefault(TOKEN, "0"));
  }

  /** Whether a snapshot is of a run of Flink jobs. */
  static boolean isOfRun(Map<String, String> summary, String run) {
    return summary.getOrDefault(RUN, "").startsWith("[\"" + run + "\",");
  }

  static long checkpoint(Map<String, String> summary) {
    return Long.parseLong(summary.getOrDefault(CHECKPOINT, "0"));
  }

  /**
   * By operator, the last checkpoint of a run; null if another writer has written since.
   *
   * @param start the epoch that the run began with: until then others wrote
   */
  Map<String, Long> checkpoints(String run, long start) {
    Map<String, Long> found = new HashMap<>();
    for (Map<String, String> summary : told()) {
      if (isOfRun(summary, run)) {
        found.putIfAbsent(summary.getOrDefault(OPERATOR, ""), checkpoint(summary));
      } else if (found.isEmpty() && writtenSince(summary, start)) {
        return null;
      }
    }
    return found;
  }

  private static boolean writtenSince(Map<String, String> summary, long start) {
    return summary.containsKey(EPOCH) && Long.parseLong(summary.get(EPOCH)) > start;
  }
}
