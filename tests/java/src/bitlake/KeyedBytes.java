package bitlake;

import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.common.typeutils.base.array.BytePrimitiveArraySerializer;
import org.apache.flink.runtime.state.KeyedStateBackend;
import org.apache.flink.runtime.state.StateBackend;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.state.rocksdb.EmbeddedRocksDBStateBackend;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.util.KeyedOneInputStreamOperatorTestHarness;

/** A map state from bytes to bytes as jobs have it: in RocksDB, with their options. */
final class KeyedBytes implements AutoCloseable {
  private KeyedOneInputStreamOperatorTestHarness<Integer, Integer, Integer> harness;
  private KeyedStateBackend<Integer> backend;

  private static final class Nothing extends AbstractStreamOperator<Integer>
      implements OneInputStreamOperator<Integer, Integer> {
    private static final long serialVersionUID = 1L;

    @Override
    public void processElement(StreamRecord<Integer> element) {}
  }

  /** Goes to a key; the state is another one there. */
  void at(int key) throws Exception {
    if (harness == null) {
      EmbeddedRocksDBStateBackend rocks = new EmbeddedRocksDBStateBackend();
      rocks.setRocksDBOptions(new StateOptions());
      harness = new KeyedOneInputStreamOperatorTestHarness<>(new Nothing(), one -> one, Types.INT);
      harness.setStateBackend((StateBackend) rocks);
      harness.open();
      backend = harness.getOperator().getKeyedStateBackend();
    }
    backend.setCurrentKey(key);
  }

  /** The state of the key at hand. */
  MapState<byte[], byte[]> get() throws Exception {
    var bytes = BytePrimitiveArraySerializer.INSTANCE;
    return backend.getPartitionedState(
        VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, new MapStateDescriptor<>("keys", bytes, bytes));
  }

  @Override
  public void close() throws Exception {
    if (harness != null) {
      harness.close();
    }
  }
}
