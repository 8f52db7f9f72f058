package bitlake;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.Map;
import org.apache.flink.util.InstantiationUtil;
import org.apache.iceberg.AppendFiles;
import org.apache.iceberg.RowDelta;
import org.apache.iceberg.SnapshotRef;
import org.apache.iceberg.Table;
import org.apache.iceberg.flink.TableLoader;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Which commits of a job are let in: of a table with two sinks, and of the table of positions with one. */
class FenceTest {
  private static final String BONDS = "main.bonds";
  private static final String PLACES = "main.positions";
  private static final String TAG = "bitlake.bonds";
  private static final long TOKEN = 4;

  private Lake lake;

  @BeforeEach
  void open() {
    lake = new Lake();
    for (String name : new String[] {BONDS, PLACES}) {
      lake.make(name, Map.of());
      claim(name, TOKEN, "a Flink job");
    }
  }

  @AfterEach
  void close() {
    lake.close();
  }

  private void claim(String name, long token, String writer) {
    lake.commitEmpty(
        name,
        Map.of(Ledger.DATASET, "bonds", Ledger.TOKEN, Long.toString(token), Ledger.WRITER, writer, Ledger.CLAIM, "c" + token, Ledger.EPOCH, "10"));
  }

  private Fence fence() {
    return new Fence(lake.loader(), "bonds", TAG, TOKEN, "r", 10, Map.of(BONDS, 2, PLACES, 1), 1);
  }

  /** A table as one of the job's sinks has it. */
  private Table table(String name) throws Exception {
    TableLoader loader = InstantiationUtil.clone(new FencedTables(lake.loader(name), name, fence()));
    loader.open();
    return loader.loadTable();
  }

  private AppendFiles append(Table table, String operator, long checkpoint) {
    AppendFiles append = table.newAppend().appendFile(lake.file());
    summary(operator, checkpoint).forEach(append::set);
    return append;
  }

  private static Map<String, String> summary(String operator, long checkpoint) {
    Map<String, String> summary = new HashMap<>();
    summary.put(Ledger.DATASET, "bonds");
    summary.put(Ledger.RUN, "[\"r\", 2, {\"bitlake.epoch\": \"10\"}]");
    summary.put(Ledger.TOKEN, Long.toString(TOKEN));
    summary.put(Ledger.OPERATOR, operator);
    summary.put(Ledger.CHECKPOINT, Long.toString(checkpoint));
    return summary;
  }

  private void commit(String name, String operator, long checkpoint) throws Exception {
    append(table(name), operator, checkpoint).commit();
  }

  private String rows(String name) {
    return lake.table(name).currentSnapshot().summary().get("total-records");
  }

  @Test
  void aCommitUnderTheTokenIsMadeWithATagOfItsSink() throws Exception {
    commit(BONDS, "open", 1);
    commit(BONDS, "closed", 1);
    commit(BONDS, "open", 2);
    Table table = lake.table(BONDS);
    assertEquals("3", rows(BONDS));
    SnapshotRef open = table.refs().get(TAG + ".open");
    assertTrue(open.isTag());
    assertEquals(table.currentSnapshot().snapshotId(), open.snapshotId());
    assertEquals(table.currentSnapshot().parentId(), table.refs().get(TAG + ".closed").snapshotId());
  }

  @Test
  void replacingRowsIsCheckedAndTaggedToo() throws Exception {
    Table table = table(BONDS);
    RowDelta delta = table.newRowDelta().addRows(lake.file());
    summary("versions", 1).forEach(delta::set);
    delta.commit();
    assertNotNull(lake.table(BONDS).refs().get(TAG + ".versions"));
    claim(BONDS, 5, "process 7");
    RowDelta late = table(BONDS).newRowDelta().addRows(lake.file());
    summary("versions", 2).forEach(late::set);
    assertThrows(Stop.class, late::commit);
  }

  @Test
  void expiryByAgeKeepsWhatTellsThePosition() throws Exception {
    commit(BONDS, "open", 1);
    commit(BONDS, "closed", 1);
    for (int number = 0; number < 3; number++) {
      lake.append(BONDS, Map.of());
    }
    lake.table(BONDS).expireSnapshots().expireOlderThan(System.currentTimeMillis() + 1000).retainLast(1).commit();
    assertThrows(Stop.class, () -> fence().checkRestored(0));
    fence().checkRestored(1);
    commit(BONDS, "open", 2);
  }

  @Test
  void aJobWhoseTokenWasRaisedCommitsNothing() throws Exception {
    commit(BONDS, "open", 1);
    commit(BONDS, "closed", 1);
    commit(PLACES, "places", 1);
    AppendFiles begun = append(table(BONDS), "open", 2);
    for (String name : new String[] {BONDS, PLACES}) {
      claim(name, 5, "process 7 on elsewhere");
    }
    Stop stop = assertThrows(Stop.class, begun::commit);
    assertTrue(stop.getMessage().contains("process 7 on elsewhere has taken it over"), stop.getMessage());
    assertThrows(Stop.class, () -> commit(PLACES, "places", 2));
    assertThrows(Stop.class, () -> fence().checkRestored(1));
    assertEquals("2", rows(BONDS));
  }

  @Test
  void theTokenOfOneTableIsNotThatOfAnother() throws Exception {
    claim(PLACES, 5, "process 7");
    commit(BONDS, "open", 1);
    assertThrows(Stop.class, () -> fence().checkRestored(1));
  }

  @Test
  void theRestOfACheckpointIsCommittedAfterTheTokenWasRaised() throws Exception {
    commit(BONDS, "open", 1);
    for (String name : new String[] {BONDS, PLACES}) {
      claim(name, 5, "process 7");
    }
    commit(BONDS, "closed", 1);
    commit(PLACES, "places", 1);
    assertEquals("2", rows(BONDS));
    assertEquals("1", rows(PLACES));
    assertThrows(Stop.class, () -> commit(BONDS, "open", 2));
  }

  @Test
  void nothingIsCommittedOnceTheSuccessorHas() throws Exception {
    commit(BONDS, "open", 1);
    for (String name : new String[] {BONDS, PLACES}) {
      claim(name, 5, "process 7");
    }
    lake.append(BONDS, Map.of(Ledger.DATASET, "bonds", Ledger.TOKEN, "5", Ledger.EPOCH, "11"));
    assertThrows(Stop.class, () -> commit(PLACES, "places", 1));
  }

  @Test
  void aCheckpointThatIsThereIsNotCommittedAgain() throws Exception {
    AppendFiles again = append(table(BONDS), "open", 1);
    commit(BONDS, "open", 1);
    again.commit();
    assertEquals("1", rows(BONDS));
    commit(BONDS, "closed", 1);
    assertEquals("2", rows(BONDS), "each sink has its own");
  }

  @Test
  void aJobThatGoesOnFromLessThanTheTablesHoldStops() throws Exception {
    for (long checkpoint : new long[] {1, 2}) {
      commit(BONDS, "open", checkpoint);
      commit(BONDS, "closed", checkpoint);
      commit(PLACES, "places", checkpoint);
    }
    fence().checkRestored(2);
    fence().checkRestored(3);
    Stop stop = assertThrows(Stop.class, () -> fence().checkRestored(1));
    assertTrue(stop.getMessage().contains("would be lost or doubled"), stop.getMessage());
  }

  @Test
  void whatWasRolledBackBlocksNoJob() throws Exception {
    Map<String, Long> at = new HashMap<>();
    for (long checkpoint : new long[] {1, 2}) {
      commit(BONDS, "open", checkpoint);
      commit(BONDS, "closed", checkpoint);
      commit(PLACES, "places", checkpoint);
      if (checkpoint == 1) {
        at.put(BONDS, lake.table(BONDS).currentSnapshot().snapshotId());
        at.put(PLACES, lake.table(PLACES).currentSnapshot().snapshotId());
      }
    }
    at.forEach((name, snapshot) -> lake.table(name).manageSnapshots().rollbackTo(snapshot).commit());
    fence().checkRestored(1);
    commit(BONDS, "open", 2);
    commit(BONDS, "closed", 2);
    commit(PLACES, "places", 2);
    assertEquals("4", rows(BONDS));
    fence().checkRestored(2);
  }

  @Test
  void aTableThatWasMadeAnewIsNotTheJobs() throws Exception {
    Table table = table(BONDS);
    lake.catalog.dropTable(org.apache.iceberg.catalog.TableIdentifier.parse(BONDS));
    lake.make(BONDS, Map.of());
    assertThrows(RuntimeException.class, () -> append(table, "open", 1).commit());
    Stop stop = assertThrows(Stop.class, () -> commit(BONDS, "open", 1));
    assertTrue(stop.getMessage().contains("made anew"), stop.getMessage());
  }

  @Test
  void whatIsNoneOfTheJobsIsRefusedWhereItHasNoToken() throws Exception {
    claim(BONDS, 5, "process 7");
    assertThrows(Stop.class, () -> table(BONDS).newAppend().appendFile(lake.file()).commit());
  }
}
