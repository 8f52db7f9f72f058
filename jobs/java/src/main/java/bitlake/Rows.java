package bitlake;

import java.io.ByteArrayInputStream;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichFlatMapFunction;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.java.typeutils.ResultTypeQueryable;
import org.apache.flink.api.python.shaded.org.apache.arrow.memory.BufferAllocator;
import org.apache.flink.api.python.shaded.org.apache.arrow.vector.FieldVector;
import org.apache.flink.api.python.shaded.org.apache.arrow.vector.NullVector;
import org.apache.flink.api.python.shaded.org.apache.arrow.vector.TimeStampMicroVector;
import org.apache.flink.api.python.shaded.org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.flink.api.python.shaded.org.apache.arrow.vector.ipc.ArrowStreamReader;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.data.columnar.vector.ColumnVector;
import org.apache.flink.table.data.columnar.vector.TimestampColumnVector;
import org.apache.flink.table.runtime.arrow.ArrowReader;
import org.apache.flink.table.runtime.arrow.ArrowUtils;
import org.apache.flink.table.runtime.typeutils.InternalTypeInfo;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.types.RowKind;
import org.apache.flink.util.Collector;

/** Frames of Arrow record batches to rows. */
public final class Rows extends RichFlatMapFunction<byte[], RowData> implements ResultTypeQueryable<RowData> {
  private static final long serialVersionUID = 1L;

  private final int number;
  private final boolean replacing;
  private final RowType type;
  private transient BufferAllocator allocator;
  private transient Superseded superseded;

  /**
   * @param number what frames begin with
   * @param replacing rows of frames that begin with another number replace rows of the same identity
   * @param type of the rows
   */
  public Rows(int number, boolean replacing, RowType type) {
    this.number = number;
    this.replacing = replacing;
    this.type = type;
  }

  @Override
  public void open(OpenContext context) {
    allocator = ArrowUtils.getRootAllocator().newChildAllocator("rows", 0, Long.MAX_VALUE);
    superseded = replacing ? new Superseded(type) : null;
  }

  @Override
  public void flatMap(byte[] frame, Collector<RowData> out) throws Exception {
    boolean replaces = replacing && (frame[0] & 255) != number;
    try (ArrowStreamReader stream =
        new ArrowStreamReader(new ByteArrayInputStream(frame, 1, frame.length - 1), allocator)) {
      VectorSchemaRoot root = stream.getVectorSchemaRoot();
      ArrowReader reader = new ArrowReader(columns(root));
      while (stream.loadNextBatch()) {
        for (int row = 0; row < root.getRowCount(); row++) {
          RowData read = reader.read(row);
          if (replaces) {
            out.collect(superseded.of(read));
          }
          read.setRowKind(RowKind.INSERT);
          out.collect(read);
        }
      }
    }
  }

  /** The columns as the table has them: it may have them in another order, and more of them. */
  private ColumnVector[] columns(VectorSchemaRoot root) {
    ColumnVector[] columns = new ColumnVector[type.getFieldCount()];
    for (int field = 0; field < columns.length; field++) {
      String name = type.getFieldNames().get(field);
      FieldVector vector = root.getVector(name);
      columns[field] =
          vector instanceof TimeStampMicroVector instants
              ? new Instants(instants)
              : ArrowUtils.createColumnVector(vector == null ? new NullVector(name) : vector, type.getTypeAt(field));
    }
    return columns;
  }

  /** Flink's own reader refuses instants before 1970 that are no whole milliseconds. */
  private record Instants(TimeStampMicroVector vector) implements TimestampColumnVector {
    @Override
    public boolean isNullAt(int row) {
      return vector.isNull(row);
    }

    @Override
    public TimestampData getTimestamp(int row, int precision) {
      long micros = vector.get(row);
      return TimestampData.fromEpochMillis(Math.floorDiv(micros, 1000), Math.floorMod(micros, 1000) * 1000);
    }
  }

  @Override
  public void close() {
    if (allocator != null) {
      allocator.close();
    }
  }

  @Override
  public TypeInformation<RowData> getProducedType() {
    return InternalTypeInfo.of(type);
  }
}
