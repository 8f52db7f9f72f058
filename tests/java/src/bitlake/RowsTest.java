package bitlake;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.math.BigDecimal;
import java.time.Instant;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.python.shaded.org.apache.arrow.memory.BufferAllocator;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.runtime.arrow.ArrowUtils;
import org.apache.flink.table.runtime.typeutils.InternalTypeInfo;
import org.apache.flink.table.runtime.typeutils.RowDataSerializer;
import org.apache.flink.table.types.logical.BigIntType;
import org.apache.flink.table.types.logical.BinaryType;
import org.apache.flink.table.types.logical.BooleanType;
import org.apache.flink.table.types.logical.DateType;
import org.apache.flink.table.types.logical.DecimalType;
import org.apache.flink.table.types.logical.DoubleType;
import org.apache.flink.table.types.logical.FloatType;
import org.apache.flink.table.types.logical.IntType;
import org.apache.flink.table.types.logical.LocalZonedTimestampType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.VarBinaryType;
import org.apache.flink.table.types.logical.VarCharType;
import org.apache.flink.types.RowKind;
import org.apache.flink.util.Collector;
import org.apache.flink.util.InstantiationUtil;
import org.junit.jupiter.api.Test;

class RowsTest {
  private static final LogicalType TEXT = new VarCharType(VarCharType.MAX_LENGTH);
  private static final LogicalType INSTANT = new LocalZonedTimestampType(6);
  private static final LogicalType[] TYPES = {
    TEXT, new BooleanType(), new IntType(), new BigIntType(), new FloatType(), new DoubleType(),
    new DecimalType(18, 3), new DecimalType(38, 10), new DateType(), INSTANT, new BinaryType(16),
    new VarBinaryType(VarBinaryType.MAX_LENGTH)
  };
  private static final RowType ALL = RowType.of(TYPES);

  private static StringData text(String text) {
    return StringData.fromString(text);
  }

  /** The rows of a frame, each copied: who comes next gets one object again and again. */
  private static List<RowData> rows(Rows sent, RowType type, byte[]... frames) throws Exception {
    Rows rows = InstantiationUtil.clone(sent);
    List<RowData> out = new ArrayList<>();
    RowDataSerializer serializer = new RowDataSerializer(type);
    rows.open(null);
    for (byte[] frame : frames) {
      rows.flatMap(
          frame,
          new Collector<>() {
            @Override
            public void collect(RowData row) {
              out.add(serializer.toBinaryRow(row).copy());
            }

            @Override
            public void close() {}
          });
    }
    rows.close();
    return out;
  }

  private static List<RowData> binary(RowType type, RowData... rows) {
    RowDataSerializer serializer = new RowDataSerializer(type);
    return java.util.Arrays.stream(rows).map(row -> (RowData) serializer.toBinaryRow(row).copy()).toList();
  }

  private static GenericRowData one(String string, boolean extreme) {
    return GenericRowData.of(
        text(string),
        extreme,
        extreme ? Integer.MIN_VALUE : 7,
        extreme ? Long.MAX_VALUE : -8L,
        extreme ? Float.NEGATIVE_INFINITY : -0f,
        extreme ? Double.NaN : Double.MIN_VALUE,
        DecimalData.fromBigDecimal(new BigDecimal(extreme ? "-999999999999999.999" : "0.001"), 18, 3),
        DecimalData.fromBigDecimal(new BigDecimal("9".repeat(28) + ".0000000001"), 38, 10),
        (int) LocalDate.of(extreme ? 1 : 9999, 1, 1).toEpochDay(),
        TimestampData.fromInstant(Instant.parse(extreme ? "0001-01-01T00:00:00.000001Z" : "9999-12-31T23:59:59.999999Z")),
        new byte[] {0, -1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
        extreme ? new byte[0] : new byte[] {0, -128});
  }

  @Test
  void valuesOfEveryTypeAndNullsAreRead() throws Exception {
    RowData[] rows = {one("", true), new GenericRowData(12), one("Zoë 𝄞", false)};
    List<RowData> found = rows(new Rows(4, false, ALL), ALL, Arrow.frame(4, ALL, List.of(rows)));
    assertEquals(binary(ALL, rows), found);
  }

  @Test
  void allBatchesOfAllFramesAreReadInOrder() throws Exception {
    RowType type = RowType.of(new BigIntType());
    List<List<GenericRowData>> batches = new ArrayList<>();
    List<RowData> wanted = new ArrayList<>();
    for (long number = 0; number < 3000; ) {
      List<GenericRowData> batch = new ArrayList<>();
      for (int i = 0; i < 700 && number < 3000; i++) {
        batch.add(GenericRowData.of(number++));
      }
      batches.add(batch);
      wanted.addAll(batch);
    }
    byte[] first = Arrow.frame(0, type, batches.get(0), batches.get(1), List.of(), batches.get(2));
    byte[] second = Arrow.frame(0, type, batches.get(3), batches.get(4)), none = Arrow.frame(0, type);
    List<RowData> found = rows(new Rows(0, false, type), type, first, none, second);
    assertEquals(binary(type, wanted.toArray(RowData[]::new)), found);
  }

  @Test
  void columnsAreFoundByNameInTheTablesOrder() throws Exception {
    RowType frames = RowType.of(new LogicalType[] {new IntType(), TEXT, new BigIntType()}, new String[] {"c", "a", "b"});
    RowType table = RowType.of(new LogicalType[] {TEXT, new BigIntType(), new IntType()}, new String[] {"a", "b", "c"});
    byte[] frame = Arrow.frame(0, frames, List.of(GenericRowData.of(3, text("one"), 2L)));
    assertEquals(binary(table, GenericRowData.of(text("one"), 2L, 3)), rows(new Rows(0, false, table), table, frame));
  }

  @Test
  void columnsThatOnlyTheTableHasAreNullWhateverTheirType() throws Exception {
    RowType frames = RowType.of(new LogicalType[] {TEXT}, new String[] {"kept"});
    List<LogicalType> types = new ArrayList<>(List.of(TYPES));
    List<String> names = new ArrayList<>(ALL.getFieldNames());
    types.add(TEXT);
    names.add("kept");
    RowType table = RowType.of(types.toArray(LogicalType[]::new), names.toArray(String[]::new));
    byte[] frame = Arrow.frame(0, frames, List.of(GenericRowData.of(text("a"))), List.of(GenericRowData.of(text("b"))));
    GenericRowData first = new GenericRowData(13), second = new GenericRowData(13);
    first.setField(12, text("a"));
    second.setField(12, text("b"));
    assertEquals(binary(table, first, second), rows(new Rows(0, false, table), table, frame));
  }

  @Test
  void columnsThatTheTableHasNoMoreAreLeftOut() throws Exception {
    RowType frames = RowType.of(new LogicalType[] {new IntType(), TEXT}, new String[] {"gone", "kept"});
    RowType table = RowType.of(new LogicalType[] {TEXT}, new String[] {"kept"});
    byte[] frame = Arrow.frame(0, frames, List.of(GenericRowData.of(3, text("a"))));
    assertEquals(binary(table, GenericRowData.of(text("a"))), rows(new Rows(0, false, table), table, frame));
  }

  @Test
  void closedRowsComeAfterADeleteOfTheOpenRowThatTheyReplace() throws Exception {
    RowType type = SupersededTest.TYPE;
    GenericRowData closed = SupersededTest.closed();
    Rows rows = new Rows(6, true, type);
    List<RowData> found = rows(rows, type, Arrow.frame(7, type, List.of(closed, closed)), Arrow.frame(6, type, List.of(closed)));
    List<RowKind> kinds = found.stream().map(RowData::getRowKind).toList();
    assertEquals(List.of(RowKind.DELETE, RowKind.INSERT, RowKind.DELETE, RowKind.INSERT, RowKind.INSERT), kinds);
    RowData open = binary(type, new Superseded(type).of(closed)).get(0), whole = binary(type, closed).get(0);
    assertEquals(List.of(open, whole, open, whole, whole), found);
  }

  @Test
  void closedRowsAreAddedWhereNothingIsReplaced() throws Exception {
    RowType type = SupersededTest.TYPE;
    byte[] frame = Arrow.frame(7, type, List.of(SupersededTest.closed()));
    assertEquals(binary(type, SupersededTest.closed()), rows(new Rows(7, false, type), type, frame));
  }

  @Test
  void noMemoryIsKeptAfterAFrameAlsoOfABrokenOne() throws Exception {
    BufferAllocator all = ArrowUtils.getRootAllocator();
    long before = all.getAllocatedMemory();
    byte[] frame = Arrow.frame(4, ALL, List.of(one("a", true)), List.of(one("b", false)));
    byte[] cut = java.util.Arrays.copyOf(frame, frame.length - 300);
    Rows rows = new Rows(4, false, ALL);
    rows.open(null);
    List<RowData> out = new ArrayList<>();
    Collector<RowData> collector = new org.apache.flink.api.common.functions.util.ListCollector<>(out);
    rows.flatMap(frame, collector);
    assertEquals(before, all.getAllocatedMemory());
    assertThrows(Exception.class, () -> rows.flatMap(cut, collector));
    assertEquals(before, all.getAllocatedMemory());
    rows.close();
    assertTrue(out.size() >= 2);
  }

  @Test
  void flinkKnowsTheTypeOfTheRows() {
    assertEquals(InternalTypeInfo.of(ALL), new Rows(0, false, ALL).getProducedType());
  }
}
