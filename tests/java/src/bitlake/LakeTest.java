package bitlake;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.Closeable;
import java.util.List;
import java.util.Map;
import java.util.stream.StreamSupport;
import org.apache.flink.util.InstantiationUtil;
import org.apache.iceberg.AppendFiles;
import org.apache.iceberg.Snapshot;
import org.apache.iceberg.Table;
import org.apache.iceberg.catalog.Catalog;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.exceptions.CommitFailedException;
import org.apache.iceberg.flink.CatalogLoader;
import org.apache.iceberg.flink.TableLoader;
import org.junit.jupiter.api.Test;

/** That the lake of other tests is one. */
class LakeTest {
  private static final String BONDS = "main.bonds";

  @Test
  void snapshotsFollowEachOtherWithTheirSummaries() {
    try (Lake lake = new Lake()) {
      lake.make(BONDS, Map.of("a", "b"));
      Snapshot first = lake.append(BONDS, Map.of("n", "1"));
      Snapshot second = lake.commitEmpty(BONDS, Map.of("n", "2"));
      Table table = lake.table(BONDS);
      List<String> numbers =
          StreamSupport.stream(table.snapshots().spliterator(), false).map(one -> one.summary().get("n")).toList();
      assertEquals(List.of("1", "2"), numbers);
      assertEquals(first.snapshotId(), second.parentId());
      assertEquals("1", second.summary().get("total-records"), "an empty snapshot keeps the rows");
      assertEquals("b", table.properties().get("a"));
      lake.set(BONDS, "a", null);
      assertNull(lake.table(BONDS).properties().get("a"));
    }
  }

  @Test
  void commitsThatOthersOvertookFail() {
    try (Lake lake = new Lake()) {
      Table table = lake.make(BONDS, Map.of("commit.retry.num-retries", "0"));
      AppendFiles late = table.newAppend().appendFile(lake.file());
      var base = ((org.apache.iceberg.HasTableOperations) table).operations();
      var stale = base.current();
      lake.append(BONDS, Map.of());
      assertThrows(CommitFailedException.class, () -> base.commit(stale, stale.replaceProperties(Map.of("x", "y"))));
      late.commit();
      assertEquals("2", lake.table(BONDS).currentSnapshot().summary().get("total-records"));
    }
  }

  @Test
  void jobsLoadTheSameTablesAndCloseOnlyWhatTheyLoaded() throws Exception {
    try (Lake lake = new Lake()) {
      lake.make(BONDS, Map.of());
      CatalogLoader sent = InstantiationUtil.clone(lake.loader());
      Catalog loaded = sent.loadCatalog();
      loaded.loadTable(TableIdentifier.parse(BONDS)).newAppend().set("by", "job").commit();
      assertEquals(false, loaded instanceof Closeable);
      try (TableLoader loader = InstantiationUtil.clone(lake.loader(BONDS))) {
        loader.open();
        assertEquals("job", loader.loadTable().currentSnapshot().summary().get("by"));
      }
      assertEquals("job", lake.table(BONDS).currentSnapshot().summary().get("by"));
    }
  }
}
