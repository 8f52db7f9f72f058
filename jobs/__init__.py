"""What is submitted to a cluster: the Flink job, rescaling, maintenance."""
