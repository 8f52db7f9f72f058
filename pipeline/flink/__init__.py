"""The Flink runtime: the same decoder and kernel inside a job on a cluster."""
