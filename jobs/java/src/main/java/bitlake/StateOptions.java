package bitlake;

import java.util.Collection;
import org.apache.flink.state.rocksdb.RocksDBOptionsFactory;
import org.rocksdb.ColumnFamilyOptions;
import org.rocksdb.DBOptions;

/**
 * What the job's state wants of RocksDB: files of checkpoints wait longer before they are merged.
 *
 * <p>Each checkpoint makes a file of level 0 per state. To merge them writes level 1 anew, and sends it to the
 * checkpoints' storage; most of what they hold is the log of changes, which is forgotten once keys are written.
 */
public final class StateOptions implements RocksDBOptionsFactory {
  private static final long serialVersionUID = 1L;

  /** So many files are merged; a look-up of a key that is new has to look into each. */
  private static final int MERGED = 12;

  @Override
  public DBOptions createDBOptions(DBOptions options, Collection<AutoCloseable> closed) {
    return options;
  }

  @Override
  public ColumnFamilyOptions createColumnOptions(ColumnFamilyOptions options, Collection<AutoCloseable> closed) {
    return options
        .setLevel0FileNumCompactionTrigger(MERGED)
        .setLevel0SlowdownWritesTrigger(3 * MERGED)
        .setLevel0StopWritesTrigger(4 * MERGED);
  }
}
