package bitlake;

import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import org.apache.iceberg.AppendFiles;
import org.apache.iceberg.BaseTable;
import org.apache.iceberg.RowDelta;
import org.apache.iceberg.Snapshot;
import org.apache.iceberg.SnapshotRef;
import org.apache.iceberg.Table;
import org.apache.iceberg.TableMetadata;
import org.apache.iceberg.TableOperations;
import org.apache.iceberg.encryption.EncryptionManager;
import org.apache.iceberg.flink.TableLoader;
import org.apache.iceberg.io.FileIO;
import org.apache.iceberg.io.LocationProvider;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Loads a table whose commits are checked: that the job has the writer token, and that none is made twice. */
public final class FencedTables implements TableLoader {
  private static final long serialVersionUID = 1L;
  private static final Logger LOG = LoggerFactory.getLogger(FencedTables.class);

  private final TableLoader loader;
  private final String name;
  private final Fence fence;

  public FencedTables(TableLoader loader, String name, Fence fence) {
    this.loader = loader;
    this.name = name;
    this.fence = fence;
  }

  @Override
  public void open() {
    loader.open();
  }

  @Override
  public boolean isOpen() {
    return loader.isOpen();
  }

  @Override
  public Table loadTable() {
    return new Fenced((BaseTable) loader.loadTable(), name, fence);
  }

  @Override
  public TableLoader clone() {
    return new FencedTables(loader.clone(), name, fence.copy());
  }

  @Override
  public void close() throws IOException {
    loader.close();
    fence.close();
  }

  /** A table as it is, but for its commits: checked, in turn, and for every checkpoint, also those without rows. */
  private static final class Fenced extends BaseTable {
    private static final long serialVersionUID = 1L;

    private final String name;

    Fenced(BaseTable table, String name, Fence fence) {
      super(new Checked(table.operations(), name, fence), table.name(), table.reporter());
      this.name = name;
    }

    @Override
    public AppendFiles newAppend() {
      return Turns.inTurn(name, AppendFiles.class, super.newAppend());
    }

    @Override
    public RowDelta newRowDelta() {
      return Turns.inTurn(name, RowDelta.class, super.newRowDelta());
    }

    @Override
    public Map<String, String> properties() {
      Map<String, String> all = new HashMap<>(super.properties());
      all.put("flink.max-continuous-empty-commits", "1");
      return all;
    }
  }

  private record Checked(TableOperations to, String name, Fence fence) implements TableOperations {
    @Override
    public void commit(TableMetadata base, TableMetadata metadata) {
      Snapshot added = metadata.currentSnapshot();
      if (added != null && fence.isOurs(added) && fence.has(base, added)) {
        // Another attempt of the job was the winner whom this one has to try again after (iceberg #16008); or the sink
        // did not find its last commit where expiry has cut the line of parents. What it brings is there.
        LOG.info("{} has checkpoint {} already", name, Ledger.checkpoint(added.summary()));
        return;
      }
      fence.check(base, added);
      to.commit(base, added == null ? metadata : tagged(metadata, added));
    }

    /** The same with a tag on the new snapshot, which keeps it from expiry while it tells the position. */
    private TableMetadata tagged(TableMetadata metadata, Snapshot added) {
      SnapshotRef tag = SnapshotRef.tagBuilder(added.snapshotId()).build();
      return TableMetadata.buildFrom(metadata).setRef(fence.tag(added), tag).build();
    }

    @Override
    public TableMetadata current() {
      return to.current();
    }

    @Override
    public TableMetadata refresh() {
      return to.refresh();
    }

    @Override
    public FileIO io() {
      return to.io();
    }

    @Override
    public EncryptionManager encryption() {
      return to.encryption();
    }

    @Override
    public String metadataFileLocation(String fileName) {
      return to.metadataFileLocation(fileName);
    }

    @Override
    public LocationProvider locationProvider() {
      return to.locationProvider();
    }

    @Override
    public TableOperations temp(TableMetadata uncommitted) {
      return to.temp(uncommitted);
    }

    @Override
    public long newSnapshotId() {
      return to.newSnapshotId();
    }

    @Override
    public boolean requireStrictCleanup() {
      return to.requireStrictCleanup();
    }
  }
}
