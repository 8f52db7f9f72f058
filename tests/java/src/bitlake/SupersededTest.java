package bitlake;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.math.BigDecimal;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericMapData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RawValueData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.logical.BigIntType;
import org.apache.flink.table.types.logical.BinaryType;
import org.apache.flink.table.types.logical.BooleanType;
import org.apache.flink.table.types.logical.DecimalType;
import org.apache.flink.table.types.logical.DoubleType;
import org.apache.flink.table.types.logical.FloatType;
import org.apache.flink.table.types.logical.IntType;
import org.apache.flink.table.types.logical.LocalZonedTimestampType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.SmallIntType;
import org.apache.flink.table.types.logical.TinyIntType;
import org.apache.flink.table.types.logical.VarBinaryType;
import org.apache.flink.table.types.logical.VarCharType;
import org.apache.flink.types.RowKind;
import org.apache.flink.types.variant.Variant;
import org.junit.jupiter.api.Test;

class SupersededTest {
  private static final LogicalType TEXT = new VarCharType(VarCharType.MAX_LENGTH);
  private static final LogicalType INSTANT = new LocalZonedTimestampType(6);
  static final RowType TYPE =
      RowType.of(
          new LogicalType[] {TEXT, INSTANT, INSTANT, TEXT, TEXT, new IntType(), new BigIntType(), TEXT},
          new String[] {
            "cusip", "system_from", "system_to", "operation",
            "closed_by_operation", "closed_by_partition", "closed_by_offset", "closed_by_trader"
          });

  private static TimestampData at(String instant) {
    return TimestampData.fromInstant(Instant.parse(instant));
  }

  private static StringData text(String text) {
    return StringData.fromString(text);
  }

  static GenericRowData closed() {
    return GenericRowData.of(
        text("037833100"), at("2024-01-01T00:00:00Z"), at("2025-01-01T00:00:00.000001Z"), text("put"),
        text("delete"), 3, 77L, text("ann"));
  }

  @Test
  void itIsTheRowAsItWasBeforeItWasClosed() {
    RowData open = new Superseded(TYPE).of(closed());
    assertEquals(8, open.getArity());
    assertEquals(text("037833100"), open.getString(0));
    assertEquals(at("2024-01-01T00:00:00Z"), open.getTimestamp(1, 6));
    assertEquals(at("9999-12-31T00:00:00Z"), open.getTimestamp(2, 6));
    assertFalse(open.isNullAt(2));
    assertEquals(text("put"), open.getString(3));
    for (int closedBy = 4; closedBy < 7; closedBy++) {
      assertTrue(open.isNullAt(closedBy), TYPE.getFieldNames().get(closedBy));
    }
    assertEquals(RowKind.DELETE, open.getRowKind());
  }

  /** A reader leaves a file of deletes out if by its statistics no row in it has the trader that is asked for. */
  @Test
  void aColumnOfTheDatasetKeepsItsValueWhateverItsName() {
    RowData open = new Superseded(TYPE).of(closed());
    assertFalse(open.isNullAt(7));
    assertEquals(text("ann"), open.getString(7));
  }

  @Test
  void nullsStayNull() {
    GenericRowData closed = closed();
    closed.setField(0, null);
    closed.setField(3, null);
    RowData open = new Superseded(TYPE).of(closed);
    assertTrue(open.isNullAt(0));
    assertTrue(open.isNullAt(3));
  }

  @Test
  void itGoesFromRowToRow() {
    Superseded superseded = new Superseded(TYPE);
    superseded.of(closed());
    GenericRowData other = closed();
    other.setField(0, text("other"));
    RowData open = superseded.of(other);
    assertEquals(text("other"), open.getString(0));
    open.setRowKind(RowKind.UPDATE_BEFORE);
    assertEquals(RowKind.UPDATE_BEFORE, open.getRowKind());
    assertEquals(RowKind.INSERT, other.getRowKind(), "the closed row's kind is its own");
  }

  @Test
  void valuesOfEveryTypeAreThoseOfTheClosedRow() {
    LogicalType[] types = {
      new BooleanType(), new TinyIntType(), new SmallIntType(), new IntType(), new BigIntType(), new FloatType(),
      new DoubleType(), TEXT, new DecimalType(18, 2), INSTANT, new BinaryType(2), new VarBinaryType(9)
    };
    byte[] two = {1, 2}, three = {3, 4, 5};
    DecimalData decimal = DecimalData.fromBigDecimal(new BigDecimal("-12.34"), 18, 2);
    TimestampData instant = at("0001-01-01T00:00:00.000001Z");
    RowData row =
        new Superseded(RowType.of(types))
            .of(GenericRowData.of(true, (byte) 1, (short) 2, 3, 4L, 5f, 6d, text("t"), decimal, instant, two, three));
    assertEquals(true, row.getBoolean(0));
    assertEquals(1, row.getByte(1));
    assertEquals(2, row.getShort(2));
    assertEquals(3, row.getInt(3));
    assertEquals(4, row.getLong(4));
    assertEquals(5, row.getFloat(5));
    assertEquals(6, row.getDouble(6));
    assertEquals(text("t"), row.getString(7));
    assertEquals(decimal, row.getDecimal(8, 18, 2));
    assertEquals(instant, row.getTimestamp(9, 6));
    assertEquals(two, row.getBinary(10));
    assertEquals(three, row.getBinary(11));
  }

  @Test
  void nestedValuesAreThoseOfTheClosedRow() {
    GenericArrayData list = new GenericArrayData(new int[] {1});
    GenericMapData map = new GenericMapData(Map.of(1, 2));
    GenericRowData inner = GenericRowData.of(1);
    RawValueData<String> raw = RawValueData.fromObject("raw");
    Variant variant = Variant.newBuilder().of(7);
    List<LogicalType> ints = List.of(new IntType(), new IntType(), new IntType(), new IntType(), new IntType());
    RowData row = new Superseded(RowType.of(ints.toArray(LogicalType[]::new))).of(GenericRowData.of(list, map, inner, raw, variant));
    assertEquals(list, row.getArray(0));
    assertEquals(map, row.getMap(1));
    assertEquals(inner, row.getRow(2, 1));
    assertSame(raw, row.getRawValue(3));
    assertEquals(variant, row.getVariant(4));
  }
}
