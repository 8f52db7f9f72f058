package bitlake;

import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.typeutils.base.array.BytePrimitiveArraySerializer;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.Header;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.flink.runtime.jobgraph.OperatorID;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.streaming.util.OneInputStreamOperatorTestHarness;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.types.Row;
import org.apache.flink.types.RowKind;
import org.apache.flink.util.Collector;
import org.apache.iceberg.Schema;
import org.apache.iceberg.SchemaParser;
import org.apache.iceberg.flink.FlinkSchemaUtil;
import org.apache.iceberg.flink.data.FlinkParquetWriters;
import org.apache.iceberg.inmemory.InMemoryOutputFile;
import org.apache.iceberg.io.FileAppender;
import org.apache.iceberg.io.OutputFile;
import org.apache.iceberg.parquet.Parquet;

/**
 * Answers what Python asks, through standard input and output: a question and an answer are a number of parts, each its
 * length and its bytes (big-endian, -1: null). An answer of -1 parts is a failure; its text follows.
 */
public final class Answers {
  private final KeyedBytes state = new KeyedBytes();
  private final List<byte[]> answer = new ArrayList<>();

  public static void main(String[] arguments) throws Exception {
    PrintStream stdout = System.out;
    System.setOut(System.err);
    DataInputStream in = new DataInputStream(System.in);
    DataOutputStream out = new DataOutputStream(stdout);
    new Answers().all(in, out);
    System.exit(0); // RocksDB has threads of its own
  }

  private void all(DataInputStream in, DataOutputStream out) throws Exception {
    while (true) {
      List<byte[]> question = new ArrayList<>();
      try {
        for (int left = in.readInt(); left > 0; left--) {
          question.add(part(in));
        }
      } catch (EOFException end) {
        state.close();
        return;
      }
      answer.clear();
      try {
        answer(text(question.get(0)), question.subList(1, question.size()));
        out.writeInt(answer.size());
        for (byte[] one : answer) {
          part(out, one);
        }
      } catch (Stop stop) {
        failed(out, "Stop: " + stop.getMessage());
      } catch (Throwable error) {
        StringWriter trace = new StringWriter();
        error.printStackTrace(new PrintWriter(trace));
        failed(out, trace.toString());
      }
      out.flush();
    }
  }

  private static void failed(DataOutputStream out, String why) throws IOException {
    out.writeInt(-1);
    part(out, why.getBytes(StandardCharsets.UTF_8));
  }

  private void answer(String what, List<byte[]> parts) throws Exception {
    switch (what) {
      case "groups" -> groups(number(parts.get(0)));
      case "gather" -> gather(text(parts.get(0)), parts.get(1));
      case "ends" -> ends();
      case "changes" -> changes(number(parts.get(0)), parts.subList(1, parts.size()));
      case "filter" -> filter(number(parts.get(0)), parts.subList(1, parts.size()));
      case "rows" -> rows(number(parts.get(0)), text(parts.get(1)), parts.subList(2, parts.size()));
      case "letters" -> letters(parts);
      case "key" -> state.at(number(parts.get(0)));
      case "getMany" -> answer.add(States.getMany(state.get(), parts.get(0)));
      case "putMany" -> States.putMany(state.get(), parts.get(0));
      case "leave" -> answer.add(bytes(States.leave(state.get(), Long.parseLong(text(parts.get(0))))));
      case "values" -> answer.add(States.values(state.get()));
      case "clear" -> state.get().clear();
      default -> throw new IllegalArgumentException(what);
    }
  }

  /** The keys of all key groups. */
  private void groups(int most) {
    for (int key : Keys.byGroup(most)) {
      answer.add(bytes(key));
    }
  }

  /** What is gathered of records, barriers, and times that pass: keys and frames in turn. */
  private void gather(String topic, byte[] script) throws Exception {
    DataInputStream in = new DataInputStream(new ByteArrayInputStream(script));
    Gather gather =
        new Gather(new Keys.OfPartition(128, topic), 5000, 20_000, 100, topic, Map.of(), 1000, new Broker(topic, 0));
    var harness =
        new OneInputStreamOperatorTestHarness<>(
            gather, 128, 1, 0, BytePrimitiveArraySerializer.INSTANCE, new OperatorID());
    try (harness) {
      harness.setProcessingTime(0);
      harness.open();
      while (in.available() > 0) {
        switch (in.readByte()) {
          case 'r' -> harness.processElement(record(in), 0);
          case 'b' -> harness.prepareSnapshotPreBarrier(in.readLong());
          case 't' -> harness.setProcessingTime(in.readLong());
          case 'e' -> harness.endInput();
          default -> throw new IllegalArgumentException("script");
        }
      }
      keysAndFrames(Operators.taken(harness));
    }
  }

  private static byte[] record(DataInputStream in) throws Exception {
    int partition = in.readInt();
    long offset = in.readLong(), timestamp = in.readLong();
    boolean appended = in.readBoolean();
    byte[] key = part(in), value = part(in);
    RecordHeaders headers = new RecordHeaders();
    for (int left = in.readInt(); left > 0; left--) {
      headers.add(text(part(in)), part(in));
    }
    return RecordBytesTest.bytes(RecordBytesTest.record(partition, offset, timestamp, appended, key, value, headers));
  }

  private void keysAndFrames(List<Row> rows) {
    for (Row row : rows) {
      answer.add(bytes(Operators.key(row)));
      answer.add(Operators.frame(row));
    }
  }

  /** Frames of where three partitions end, which hold 0, 10 and 20 records. */
  private void ends() throws Exception {
    Broker broker = new Broker("answers", 1);
    broker.append(1, 10);
    broker.append(2, 20);
    try (Ends ends = new Ends("answers", Map.of(), partition -> true, 3_600_000, broker)) {
      Map<Integer, byte[]> found = ends.take();
      for (; found.isEmpty(); found = ends.take()) {
        Thread.sleep(1);
      }
      answer.addAll(found.values());
    }
  }

  /** What comes of frames on their way to be applied, before a checkpoint and the end: groups, keys and frames in turn. */
  private void changes(int most, List<byte[]> frames) throws Exception {
    var harness =
        new OneInputStreamOperatorTestHarness<>(
            new Mark(most, null), most, 1, 0, BytePrimitiveArraySerializer.INSTANCE, new OperatorID());
    try (harness) {
      harness.open();
      for (byte[] frame : frames) {
        if (new Frames.Changes().filter(frame)) {
          harness.processElement(frame, 0);
        }
      }
      harness.prepareSnapshotPreBarrier(7);
      harness.endInput();
      for (Row row : Operators.taken(harness)) {
        answer.add(bytes(KeyGroupRangeAssignment.assignToKeyGroup(new Keys.OfRow().getKey(row), most)));
        keysAndFrames(List.of(row));
      }
    }
  }

  /** Those of the frames that are of a table. */
  private void filter(int number, List<byte[]> frames) {
    Frames.Of of = new Frames.Of(number, false);
    frames.stream().filter(of::filter).forEach(answer::add);
  }

  /**
   * The rows of a table's frames: Parquet files of what is inserted and of what is deleted, as Iceberg's sink would write
   * them, null if there are none, and a letter for each row in turn, I or D.
   */
  private void rows(int number, String schemaJson, List<byte[]> frames) throws Exception {
    Schema schema = SchemaParser.fromJson(schemaJson);
    RowType type = FlinkSchemaUtil.convert(schema);
    InMemoryOutputFile inserts = new InMemoryOutputFile(), deletes = new InMemoryOutputFile();
    StringBuilder kinds = new StringBuilder();
    try (FileAppender<RowData> inserted = writer(inserts, schema, type);
        FileAppender<RowData> deleted = writer(deletes, schema, type)) {
      Rows rows = new Rows(number, true, type);
      rows.open(null);
      for (byte[] frame : frames) {
        rows.flatMap(
            frame,
            new Collector<>() {
              @Override
              public void collect(RowData row) {
                boolean deletes = row.getRowKind() == RowKind.DELETE;
                kinds.append(deletes ? 'D' : 'I');
                (deletes ? deleted : inserted).add(row);
              }

              @Override
              public void close() {}
            });
      }
      rows.close();
    }
    answer.add(kinds.indexOf("I") < 0 ? null : inserts.toByteArray());
    answer.add(kinds.indexOf("D") < 0 ? null : deletes.toByteArray());
    answer.add(kinds.toString().getBytes(StandardCharsets.UTF_8));
  }

  private static FileAppender<RowData> writer(OutputFile file, Schema schema, RowType type) throws IOException {
    return Parquet.write(file)
        .schema(schema)
        .createWriterFunc(parquet -> FlinkParquetWriters.buildWriter(type, parquet))
        .build();
  }

  /** The messages of frames to a topic of four partitions: partition, key, value, then how many headers, and these. */
  private void letters(List<byte[]> frames) throws Exception {
    LettersTest.Topic topic = new LettersTest.Topic();
    Letters letters = new Letters("letters", Map.of(), topic);
    try (var harness = new OneInputStreamOperatorTestHarness<>(letters, BytePrimitiveArraySerializer.INSTANCE)) {
      harness.open();
      for (byte[] frame : frames) {
        harness.processElement(frame, 0);
      }
      harness.snapshot(1, 0);
      harness.notifyOfCompletedCheckpoint(1);
    }
    for (ProducerRecord<byte[], byte[]> message : topic.sent) {
      Header[] headers = message.headers().toArray();
      answer.addAll(java.util.Arrays.asList(bytes(message.partition()), message.key(), message.value(), bytes(headers.length)));
      for (Header header : headers) {
        answer.add(header.key().getBytes(StandardCharsets.UTF_8));
        answer.add(header.value());
      }
    }
  }

  private static byte[] part(DataInputStream in) throws IOException {
    int length = in.readInt();
    if (length < 0) {
      return null;
    }
    byte[] found = new byte[length];
    in.readFully(found);
    return found;
  }

  private static void part(DataOutputStream out, byte[] part) throws IOException {
    out.writeInt(part == null ? -1 : part.length);
    if (part != null) {
      out.write(part);
    }
  }

  private static String text(byte[] part) {
    return new String(part, StandardCharsets.UTF_8);
  }

  private static int number(byte[] part) {
    return Integer.parseInt(text(part));
  }

  private static byte[] bytes(long number) {
    return Long.toString(number).getBytes(StandardCharsets.UTF_8);
  }
}
