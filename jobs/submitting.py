"""Runs `jobs.flink_job` by the Python that has PyFlink, for processes that need not have it."""

import json
import logging
import os
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.errors import BadInput, BitlakeError, Refused, Unavailable

log = logging.getLogger(__name__)

_LINES = 40
"""So many of the last lines that others than bitlake write on standard error are told where it fails."""
_END_SECONDS = 5.0


class Submitter:
    """The process that submits a job; it does not outlive the block. What it logs is logged here, too.

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
        self._process = subprocess.Popen(
            self._command,
            env={**os.environ, **self._environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self._others = deque[str](maxlen=_LINES)
        self._relay = threading.Thread(target=self._relayed, name="submitter", daemon=True)
        self._relay.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._relay.join(_END_SECONDS)

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
                kinds = {"Unavailable": Unavailable, "BadInput": BadInput, "Fault": BitlakeError}
                raise kinds.get(told["kind"], Refused)(told["error"], next_step=told["next_step"])
        status = self._process.wait()
        self._relay.join(_END_SECONDS)
        raise BitlakeError(
            f"the job could not be submitted (status {status}): {''.join(self._others).strip()[-3000:]}",
            next_step="see the cause above; `bitlake -vv submit` tells more",
        )

    def _relayed(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:  # Java has it too, and ends a little later
            for line in lines:
                if not relay(line):
                    self._others.append(line)
                    log.debug("%s", line.rstrip())


def relay(line: str) -> bool:
    """Log what another process of bitlake logged as a line of JSON; whether it is one."""
    try:
        told = json.loads(line)
        level = logging.getLevelNamesMapping()[told.pop("level").upper()]
        name, event = told.pop("logger"), told.pop("event")
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    told.pop("timestamp", None)
    logging.getLogger(name).log(level, "%s", event, extra=told)
    return True


def submitted(config: Path, names: Sequence[str], words: Sequence[str], parallelism: int | None) -> str:
    """Submit a job; its id."""
    with Submitter(config, names, words, parallelism) as submitter:
        return submitter.job()
