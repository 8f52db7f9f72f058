package bitlake;

import org.apache.flink.runtime.throwable.ThrowableAnnotation;
import org.apache.flink.runtime.throwable.ThrowableType;
import org.apache.iceberg.exceptions.CleanableFailure;

/** Ends the job for good: what it tells of is not mended by starting again. Nothing was committed. */
@ThrowableAnnotation(ThrowableType.NonRecoverableError)
public final class Stop extends RuntimeException implements CleanableFailure {
  private static final long serialVersionUID = 1L;

  public Stop(String why) {
    super(why);
  }
}
