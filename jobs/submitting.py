"""Runs `jobs.flink_job` by the Python that has PyFlink, for processes that need not have it."""

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.errors import BadInput, BitlakeError, Refused, Unavailable


class Submitter:
    """The process that submits a job; it does not outlive the block.

    Args:
        config: lake.yaml.
        names: of the datasets.
        words: more arguments.
        parallelism: the job's, if not as lake.yaml says.
    """

    def __init__(
        self, config: Path, names: Sequence[str], words: Sequence[str], parallelism: int | None
    ) -> None:
        from stack.client import client

        python, self._environment = client()
        more = [] if parallelism is None else ["--parallelism", str(parallelism)]
        self._command = [
            str(python),
            *("-m", "jobs.flink_job"),
            *(str(config.absolute()), *names, *words, *more),
        ]

    def __enter__(self) -> Self:
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            self._command,
            env={**os.environ, **self._environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process, self._log:
            self._process.kill()

    def prepared(self) -> None:
        """Wait until the job's graph is made (`--successor`).

        Raises:
            BitlakeError: it can't be.
        """
        self._told("prepared")

    def start(self, savepoint: str) -> str:
        """Start the job that was prepared from a savepoint; its id."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"savepoint": savepoint}) + "\n")
        self._process.stdin.flush()
        return self.job()

    def job(self) -> str:
        """The id of the job, once it is submitted.

        Raises:
            BitlakeError: it can't be.
        """
        return str(self._told("job"))

    def _told(self, what: str) -> Any:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
            if what in told:
                return told[what]
            if "error" in told:
                kinds = {"Unavailable": Unavailable, "BadInput": BadInput}
                raise kinds.get(told["kind"], Refused)(told["error"], next_step=told["next_step"])
        status = self._process.wait()
        self._log.seek(0)
        raise BitlakeError(
            f"the job could not be submitted (status {status}): {self._log.read().strip()[-3000:]}",
            next_step="see the cause above; `bitlake -v submit` tells more",
        )


def submitted(config: Path, names: Sequence[str], words: Sequence[str], parallelism: int | None) -> str:
    """Submit a job; its id."""
    with Submitter(config, names, words, parallelism) as submitter:
        return submitter.job()
