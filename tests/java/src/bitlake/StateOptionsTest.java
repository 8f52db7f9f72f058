package bitlake;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.util.InstantiationUtil;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rocksdb.ColumnFamilyDescriptor;
import org.rocksdb.ColumnFamilyHandle;
import org.rocksdb.ColumnFamilyOptions;
import org.rocksdb.DBOptions;
import org.rocksdb.FlushOptions;
import org.rocksdb.RocksDB;

class StateOptionsTest {
  @Test
  void filesOfCheckpointsAreMergedWhenThereAreTwelve(@TempDir Path folder) throws Exception {
    RocksDB.loadLibrary();
    StateOptions options = InstantiationUtil.clone(new StateOptions());
    List<AutoCloseable> closed = new ArrayList<>();
    List<ColumnFamilyHandle> handles = new ArrayList<>();
    try (ColumnFamilyOptions columns = options.createColumnOptions(new ColumnFamilyOptions(), closed);
        DBOptions database = options.createDBOptions(new DBOptions().setCreateIfMissing(true), closed)) {
      var family = new ColumnFamilyDescriptor(RocksDB.DEFAULT_COLUMN_FAMILY, columns);
      try (RocksDB rocks = RocksDB.open(database, Files.createDirectory(folder.resolve("db")).toString(), List.of(family), handles);
          FlushOptions flush = new FlushOptions().setWaitForFlush(true)) {
        for (int number = 1; number <= 11; number++) {
          rocks.put(new byte[] {1}, new byte[] {(byte) number});
          rocks.flush(flush);
        }
        assertEquals("11", rocks.getProperty("rocksdb.num-files-at-level0"));
        rocks.put(new byte[] {1}, new byte[] {12});
        rocks.flush(flush);
        long end = System.nanoTime() + 30_000_000_000L;
        while (!rocks.getProperty("rocksdb.num-files-at-level0").equals("0")) {
          assertTrue(System.nanoTime() < end, "twelve files are not merged");
          Thread.sleep(5);
        }
        handles.forEach(ColumnFamilyHandle::close);
      }
      assertEquals(36, columns.level0SlowdownWritesTrigger());
      assertEquals(48, columns.level0StopWritesTrigger());
    }
    assertEquals(List.of(), closed);
  }
}
