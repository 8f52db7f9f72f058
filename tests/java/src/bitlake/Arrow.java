package bitlake;

import java.io.ByteArrayOutputStream;
import java.util.List;
import org.apache.flink.api.python.shaded.org.apache.arrow.memory.BufferAllocator;
import org.apache.flink.api.python.shaded.org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.flink.api.python.shaded.org.apache.arrow.vector.ipc.ArrowStreamWriter;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.runtime.arrow.ArrowUtils;
import org.apache.flink.table.runtime.arrow.ArrowWriter;
import org.apache.flink.table.types.logical.RowType;

/** Frames of rows as Python writes them, by Flink's writer of Arrow. */
final class Arrow {
  private Arrow() {}

  /** A frame of batches of rows after a number. */
  @SafeVarargs
  static byte[] frame(int number, RowType type, List<? extends RowData>... batches) throws Exception {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.write(number);
    try (BufferAllocator allocator = ArrowUtils.getRootAllocator().newChildAllocator("test", 0, Long.MAX_VALUE);
        VectorSchemaRoot root = VectorSchemaRoot.create(ArrowUtils.toArrowSchema(type), allocator);
        ArrowStreamWriter stream = new ArrowStreamWriter(root, null, out)) {
      ArrowWriter<RowData> writer = ArrowUtils.createRowDataArrowWriter(root, type);
      stream.start();
      for (List<? extends RowData> batch : batches) {
        writer.reset();
        batch.forEach(writer::write);
        writer.finish();
        stream.writeBatch();
      }
      stream.end();
    }
    return out.toByteArray();
  }
}
