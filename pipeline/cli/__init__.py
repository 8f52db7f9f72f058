"""The command `bitlake`."""

import gc
import sys

# What imports make lives as long as the process: looking through it hundreds of times costs 0.1 s.
gc.set_threshold(100_000)


def main() -> None:
    """Run the command line; Ctrl-C ends it quietly from its first moment, while it is still imported."""
    try:
        from pipeline.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
