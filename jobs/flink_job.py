"""The Flink job, submitted: ``python -m jobs.flink_job lake.yaml``, by a Python that has PyFlink.

`bitlake submit` runs this with the environment that PyFlink wants (see `stack.client`).
"""

import argparse
import json
import logging
import os
import sys
import traceback

from pipeline.config import load_config
from pipeline.errors import BitlakeError, Refused
from pipeline.flink.submission import Submission
from pipeline.logs import LogFormat, configure_logs


def main(arguments: list[str] | None = None) -> int:
    """Submit the job and print its id as JSON; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m jobs.flink_job", description=__doc__)
    parser.add_argument("config", help="lake.yaml")
    parser.add_argument("datasets", nargs="*", help="default: all of lake.yaml")
    parser.add_argument("--take-over", action="store_true", help="take datasets from writers that hold them")
    parser.add_argument("--until-end", action="store_true", help="stop where the topics end now")
    parser.add_argument("--fresh", action="store_true", help="go on from the tables, not from a checkpoint")
    parser.add_argument("--from-savepoint", metavar="PLACE", help="go on from this checkpoint or savepoint")
    parser.add_argument("--parallelism", type=int, help="default: as flink in lake.yaml says")
    parser.add_argument(
        "--successor",
        action="store_true",
        help="make the graph while the job before runs; start it when a savepoint is told on standard input",
    )
    given = parser.parse_args(arguments)
    configure_logs(LogFormat.JSON, logging.INFO)
    try:
        lake = load_config(given.config, os.environ)
        datasets = [lake.dataset(name) for name in given.datasets] or list(lake.datasets)
        submission = Submission(
            lake,
            datasets,
            take_over=given.take_over,
            until_end=given.until_end,
            fresh=given.fresh,
            savepoint=given.from_savepoint,
            parallelism=given.parallelism,
        )
        job = _succeeding(submission) if given.successor else submission.submit()
    except BitlakeError as error:
        print(
            json.dumps({"error": error.message, "next_step": error.next_step, "kind": type(error).__name__})
        )
        return 1
    except Exception as error:  # noqa: BLE001 - Java's, too
        traceback.print_exc()
        message = next(iter(str(error).strip().splitlines()), "")
        told = f"the job could not be submitted: {type(error).__name__}: {message}"
        print(json.dumps({"error": told, "next_step": "`bitlake -vv submit` prints more", "kind": "Fault"}))
        return 1
    print(json.dumps({"job": job}), flush=True)
    return 0


def _succeeding(submission: Submission) -> str:
    submission.prepare()
    print(json.dumps({"prepared": True}), flush=True)
    told = sys.stdin.readline()
    if not told:
        raise Refused("no savepoint was told", next_step="the job before runs on")
    return submission.succeed(json.loads(told)["savepoint"])


if __name__ == "__main__":
    sys.exit(main())
