"""The command `bitlake`."""

import gc

# What imports make lives as long as the process: looking through it hundreds of times costs 0.1 s.
gc.set_threshold(100_000)
