"""The reference workload, the runner and the figures."""
