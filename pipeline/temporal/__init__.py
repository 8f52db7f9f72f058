"""The temporal kernel: operations on timelines, pure, on arrays of integers and bytes.

One source for one change and for a million: every function below runs compiled by numba, and as plain
Python with ``NUMBA_DISABLE_JIT=1``. No clock, no I/O; nothing of bitlake's is imported here.
"""
