package bitlake;

import java.io.Closeable;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.iceberg.AppendFiles;
import org.apache.iceberg.DataFile;
import org.apache.iceberg.DataFiles;
import org.apache.iceberg.FileFormat;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Schema;
import org.apache.iceberg.Snapshot;
import org.apache.iceberg.SnapshotUpdate;
import org.apache.iceberg.Table;
import org.apache.iceberg.catalog.Catalog;
import org.apache.iceberg.catalog.Namespace;
import org.apache.iceberg.catalog.SupportsNamespaces;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.flink.CatalogLoader;
import org.apache.iceberg.flink.TableLoader;
import org.apache.iceberg.inmemory.InMemoryCatalog;
import org.apache.iceberg.types.Types;

/**
 * Tables in memory, for tests: Iceberg's own catalog, whose commits are compared and swapped as anywhere.
 *
 * <p>Tables hold no rows: their data files are names alone.
 */
final class Lake implements Closeable {
  static final Schema SCHEMA =
      new Schema(
          Types.NestedField.required(1, "cusip", Types.StringType.get()),
          Types.NestedField.optional(2, "rating", Types.StringType.get()));

  private static final Map<Integer, Lake> OPEN = new ConcurrentHashMap<>();
  private static final AtomicInteger NUMBERS = new AtomicInteger();

  final InMemoryCatalog catalog = new InMemoryCatalog();
  private final int number = NUMBERS.incrementAndGet();
  private final AtomicInteger files = new AtomicInteger();

  Lake() {
    catalog.initialize("lake", Map.of());
    OPEN.put(number, this);
  }

  /** Makes a table, such as "main.bonds", with properties, and gives it. */
  Table make(String name, Map<String, String> properties) {
    TableIdentifier identifier = TableIdentifier.parse(name);
    Namespace namespace = identifier.namespace();
    if (!catalog.namespaceExists(namespace)) {
      catalog.createNamespace(namespace);
    }
    return catalog.createTable(identifier, SCHEMA, PartitionSpec.unpartitioned(), properties);
  }

  /** A table as it is now. */
  Table table(String name) {
    return catalog.loadTable(TableIdentifier.parse(name));
  }

  /** Sets a property of a table, as another writer would; null removes it. */
  void set(String name, String property, String value) {
    var update = table(name).updateProperties();
    (value == null ? update.remove(property) : update.set(property, value)).commit();
  }

  /** Commits a snapshot with a summary and a file of one row, and gives it. */
  Snapshot append(String name, Map<String, String> summary) {
    AppendFiles append = table(name).newAppend().appendFile(file());
    return commit(name, append, summary);
  }

  /** Commits a snapshot with a summary and without rows, and gives it. */
  Snapshot commitEmpty(String name, Map<String, String> summary) {
    return commit(name, table(name).newAppend(), summary);
  }

  /** Commits an update with a summary, and gives the snapshot. */
  <T extends SnapshotUpdate<T>> Snapshot commit(String name, T update, Map<String, String> summary) {
    summary.forEach(update::set);
    update.commit();
    return table(name).currentSnapshot();
  }

  /** A data file that no table has yet. */
  DataFile file() {
    return DataFiles.builder(PartitionSpec.unpartitioned())
        .withPath("memory:/" + files.incrementAndGet() + ".parquet")
        .withFormat(FileFormat.PARQUET)
        .withFileSizeInBytes(10)
        .withRecordCount(1)
        .build();
  }

  /** The catalog as a job loads it: who closes what it loaded closes not the lake. */
  CatalogLoader loader() {
    return new Loader(number);
  }

  /** A table as a job's sink loads it. */
  TableLoader loader(String name) {
    return TableLoader.fromCatalog(loader(), TableIdentifier.parse(name));
  }

  @Override
  public void close() {
    OPEN.remove(number);
    try {
      catalog.close();
    } catch (java.io.IOException error) {
      throw new java.io.UncheckedIOException(error);
    }
  }

  private record Loader(int number) implements CatalogLoader {
    @Override
    public Catalog loadCatalog() {
      Catalog catalog = OPEN.get(number).catalog;
      Class<?>[] kinds = {Catalog.class, SupportsNamespaces.class};
      return (Catalog)
          Proxy.newProxyInstance(
              Lake.class.getClassLoader(),
              kinds,
              (self, method, arguments) -> {
                try {
                  return method.invoke(catalog, arguments);
                } catch (InvocationTargetException error) {
                  throw error.getCause();
                }
              });
    }

    @Override
    public CatalogLoader clone() {
      return new Loader(number);
    }
  }
}
