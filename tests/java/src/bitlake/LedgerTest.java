package bitlake;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ArrayNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.iceberg.TableMetadata;
import org.apache.iceberg.TableMetadataParser;
import org.junit.jupiter.api.Test;

/** The cases that the Python of `pipeline.sink.ledger` passes, too (tests/unit/sink/test_ledger.py). */
class LedgerTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final long START = 10;

  @Test
  void allCases() throws IOException {
    List<String> wrong = new ArrayList<>();
    JsonNode cases = JSON.readTree(Path.of(System.getProperty("bitlake.cases"), "ledger.json").toFile());
    for (JsonNode one : cases) {
      Ledger ledger = new Ledger(metadata(one), "bonds", "bitlake.bonds");
      check(wrong, one, "token", one.get("token").asLong(), ledger.token());
      JsonNode checkpoints = one.get("checkpoints");
      Map<String, Long> meant = null;
      if (!checkpoints.isNull()) {
        meant = new TreeMap<>();
        for (var fields = checkpoints.fields(); fields.hasNext(); ) {
          var field = fields.next();
          meant.put(field.getKey(), field.getValue().asLong());
        }
      }
      Map<String, Long> found = ledger.checkpoints("r", START);
      if (meant != null) {
        check(wrong, one, "checkpoints", meant, found == null ? null : new TreeMap<>(found));
      }
    }
    assertEquals(List.of(), wrong);
    assertEquals(true, cases.size() > 15, "all cases were read");
  }

  private static void check(List<String> wrong, JsonNode one, String what, Object meant, Object found) {
    if (!meant.equals(found)) {
      wrong.add(one.get("case").asText() + ": " + what + " is " + found + ", not " + meant);
    }
  }

  @Test
  void whatOthersWroteSinceEndsARun() throws IOException {
    JsonNode cases = JSON.readTree(Path.of(System.getProperty("bitlake.cases"), "ledger.json").toFile());
    for (JsonNode one : cases) {
      if (one.get("case").asText().equals("an embedded writer went on after a Flink job")) {
        assertEquals(null, new Ledger(metadata(one), "bonds", "bitlake.bonds").checkpoints("r", START));
        return;
      }
    }
    throw new AssertionError("the case is missing");
  }

  /** A table's metadata as a case tells it. */
  private static TableMetadata metadata(JsonNode one) {
    ObjectNode metadata = JSON.createObjectNode();
    metadata.put("format-version", 2).put("table-uuid", "9c12d441-03fe-4693-9a96-a0705ddf69c1");
    metadata.put("location", "memory:/t").put("last-sequence-number", 99).put("last-updated-ms", 99);
    metadata.put("last-column-id", 1).put("current-schema-id", 0).put("default-spec-id", 0);
    metadata.put("last-partition-id", 999).put("default-sort-order-id", 0);
    ObjectNode schema = metadata.putArray("schemas").addObject();
    schema.put("type", "struct").put("schema-id", 0).putArray("fields");
    metadata.putArray("partition-specs").addObject().put("spec-id", 0).putArray("fields");
    metadata.putArray("sort-orders").addObject().put("order-id", 0).putArray("fields");
    metadata.putObject("properties");
    ArrayNode snapshots = metadata.putArray("snapshots");
    for (JsonNode given : one.get("snapshots")) {
      ObjectNode snapshot = snapshots.addObject();
      snapshot.put("snapshot-id", given.get(0).asLong()).put("sequence-number", given.get(0).asLong());
      if (!given.get(1).isNull()) {
        snapshot.put("parent-snapshot-id", given.get(1).asLong());
      }
      snapshot.put("timestamp-ms", given.get(0).asLong()).put("manifest-list", "memory:/none");
      snapshot.set("summary", summary(given.get(2)));
    }
    ObjectNode refs = metadata.putObject("refs");
    if (!one.get("current").isNull()) {
      metadata.put("current-snapshot-id", one.get("current").asLong());
      refs.putObject("main").put("snapshot-id", one.get("current").asLong()).put("type", "branch");
    }
    for (var tags = one.get("tags").fields(); tags.hasNext(); ) {
      var tag = tags.next();
      refs.putObject(tag.getKey()).put("snapshot-id", tag.getValue().asLong()).put("type", "tag");
    }
    return TableMetadataParser.fromJson("memory:/t/metadata.json", metadata.toString());
  }

  /** What a snapshot of a case says; `summary_of` of test_ledger.py does the same. */
  private static ObjectNode summary(JsonNode given) {
    ObjectNode summary = JSON.createObjectNode().put("operation", "append");
    if (given.isEmpty()) {
      return summary;
    }
    summary.put(Ledger.DATASET, given.path("dataset").asText("bonds"));
    if (given.has("token")) {
      summary.put(Ledger.TOKEN, given.get("token").asText());
    }
    if (given.has("claim")) {
      summary.put(Ledger.CLAIM, given.get("claim").asText());
    }
    if (given.has("epoch")) {
      summary.put(Ledger.EPOCH, given.get("epoch").asText());
    }
    if (given.has("run")) {
      summary.put(Ledger.RUN, "[\"" + given.get("run").asText() + "\", 2, {\"" + Ledger.EPOCH + "\": \"10\"}]");
      summary.put(Ledger.OPERATOR, given.get("operator").asText());
      summary.put(Ledger.CHECKPOINT, given.get("checkpoint").asText());
    }
    return summary;
  }
}
