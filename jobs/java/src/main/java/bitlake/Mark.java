package bitlake;

import java.nio.ByteBuffer;
import org.apache.flink.runtime.state.StateInitializationContext;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.BoundedOneInput;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.types.Row;

/**
 * Hands keyed frames on, and before each checkpoint's barrier a mark for every key group of this subtask, so that
 * whoever comes next in the chain can write down what it holds in memory.
 */
public final class Mark extends AbstractStreamOperator<Row>
    implements OneInputStreamOperator<byte[], Row>, BoundedOneInput {
  private static final long serialVersionUID = 1L;

  /** In the place of a checkpoint's number: the end of the input. */
  static final long END = Long.MAX_VALUE;

  private final int[] byGroup;
  private final Fence fence;
  private transient boolean ended;

  /** Without a fence (null) in a job that writes nothing. */
  public Mark(int maxParallelism, Fence fence) {
    this.byGroup = Keys.byGroup(maxParallelism);
    this.fence = fence;
  }

  /** Here, because what follows in the chain has state in every subtask: so Flink tells what it goes on from. */
  @Override
  public void initializeState(StateInitializationContext context) throws Exception {
    super.initializeState(context);
    if (fence != null && getRuntimeContext().getTaskInfo().getIndexOfThisSubtask() == 0) {
      fence.checkRestored(context.getRestoredCheckpointId().orElse(0));
      fence.close();
    }
  }

  /** A frame that is a mark: -1, what it is of, the checkpoint. */
  static byte[] mark(int of, long checkpoint) {
    return ByteBuffer.allocate(16).putInt(-1).putInt(of).putLong(checkpoint).array();
  }

  @Override
  public void processElement(StreamRecord<byte[]> element) {
    byte[] frame = element.getValue();
    output.collect(new StreamRecord<>(Row.of(ByteBuffer.wrap(frame).getInt(), frame)));
  }

  private void markAll(long checkpoint) {
    for (int group : Keys.range(byGroup.length, getRuntimeContext().getTaskInfo())) {
      output.collect(new StreamRecord<>(Row.of(byGroup[group], mark(group, checkpoint))));
    }
  }

  @Override
  public void prepareSnapshotPreBarrier(long checkpoint) {
    if (!ended) {
      markAll(checkpoint);
    }
  }

  @Override
  public void endInput() {
    markAll(END);
    ended = true;
  }
}
