"""What `bitlake run` tells of itself while it runs: Prometheus metrics, and whether it is well.

    metrics = Metrics(["bonds"], commit_seconds=10)
    with serve(metrics, "127.0.0.1", 9464):              # /metrics, /healthz, /readyz
        lake.run(watching=metrics.watching)

Counts are of records in committed epochs, and begin at 0 with the process. What is asked of the running
datasets (lag, state, horizon) is asked when Prometheus does; the way of a record is not touched.
"""

from pipeline.metrics.metrics import Metrics
from pipeline.metrics.server import serve

__all__ = ["Metrics", "serve"]
