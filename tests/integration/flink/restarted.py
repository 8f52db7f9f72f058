"""Starts a job of the run that wrote a lake's tables last, from a savepoint or from nothing; prints its id.

``python restarted.py lake.yaml [SAVEPOINT]``: what a cluster may do that has lost its checkpoints.
"""

import os
import sys

from pipeline.config import load_config
from pipeline.flink.submission import Submission


def main() -> None:
    lake = load_config(sys.argv[1], os.environ)
    submission = Submission(lake, lake.datasets)
    submission.prepare()
    print(submission._start(sys.argv[2] or None))


if __name__ == "__main__":
    main()
