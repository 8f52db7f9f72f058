package bitlake;

import java.util.Set;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.MapData;
import org.apache.flink.table.data.RawValueData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.types.RowKind;
import org.apache.flink.types.variant.Variant;

/**
 * The open row that a closed one takes the place of: the same, but without its end and what closed it.
 *
 * <p>An equality delete has to hold the whole row that it deletes: readers leave a file of deletes out when its
 * statistics say that no row in it fulfils their condition.
 */
final class Superseded implements RowData {
  private static final TimestampData NO_END = TimestampData.fromEpochMillis(253_402_214_400_000L);
  private static final String SYSTEM_TO = "system_to";

  /** Columns of a dataset may have names that begin like these. */
  private static final Set<String> CLOSED_BY =
      Set.of("closed_by_operation", "closed_by_partition", "closed_by_offset");

  private final int systemTo;
  private final boolean[] closedBy;
  private RowData closed;
  private RowKind kind = RowKind.DELETE;

  Superseded(RowType type) {
    systemTo = type.getFieldIndex(SYSTEM_TO);
    closedBy = new boolean[type.getFieldCount()];
    for (int field = 0; field < closedBy.length; field++) {
      closedBy[field] = CLOSED_BY.contains(type.getFieldNames().get(field));
    }
  }

  Superseded of(RowData closed) {
    this.closed = closed;
    return this;
  }

  @Override
  public TimestampData getTimestamp(int field, int precision) {
    return field == systemTo ? NO_END : closed.getTimestamp(field, precision);
  }

  @Override
  public boolean isNullAt(int field) {
    return closedBy[field] || closed.isNullAt(field);
  }

  @Override
  public RowKind getRowKind() {
    return kind;
  }

  @Override
  public void setRowKind(RowKind kind) {
    this.kind = kind;
  }

  @Override
  public int getArity() {
    return closed.getArity();
  }

  @Override
  public boolean getBoolean(int field) {
    return closed.getBoolean(field);
  }

  @Override
  public byte getByte(int field) {
    return closed.getByte(field);
  }

  @Override
  public short getShort(int field) {
    return closed.getShort(field);
  }

  @Override
  public int getInt(int field) {
    return closed.getInt(field);
  }

  @Override
  public long getLong(int field) {
    return closed.getLong(field);
  }

  @Override
  public float getFloat(int field) {
    return closed.getFloat(field);
  }

  @Override
  public double getDouble(int field) {
    return closed.getDouble(field);
  }

  @Override
  public StringData getString(int field) {
    return closed.getString(field);
  }

  @Override
  public DecimalData getDecimal(int field, int precision, int scale) {
    return closed.getDecimal(field, precision, scale);
  }

  @Override
  public <T> RawValueData<T> getRawValue(int field) {
    return closed.getRawValue(field);
  }

  @Override
  public byte[] getBinary(int field) {
    return closed.getBinary(field);
  }

  @Override
  public ArrayData getArray(int field) {
    return closed.getArray(field);
  }

  @Override
  public MapData getMap(int field) {
    return closed.getMap(field);
  }

  @Override
  public RowData getRow(int field, int fields) {
    return closed.getRow(field, fields);
  }

  @Override
  public Variant getVariant(int field) {
    return closed.getVariant(field);
  }
}
