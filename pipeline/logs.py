"""Logs on standard error: lines for people, or one JSON object each."""

import json
import logging
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class LogFormat(StrEnum):
    """The formats of --log-format."""

    TEXT = "text"
    JSON = "json"


def configure_logs(format_: LogFormat, level: int) -> None:
    """Send the logs of bitlake, and warnings of its libraries, to standard error.

    Args:
        format_: how a line looks.
        level: bitlake's least level, as in `logging`.
    """
    handler = _StandardError()
    handler.setFormatter(_JsonLines() if format_ is LogFormat.JSON else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    for name in ("pipeline", "state", "jobs"):
        logging.getLogger(name).setLevel(level)
    for noisy in ("pyiceberg", "urllib3"):
        logging.getLogger(noisy).setLevel(max(level, logging.ERROR))


class _StandardError(logging.Handler):
    """Writes to what sys.stderr is now: a progress display replaces it while it is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        # In one piece: others may write beside it.
        sys.stderr.write(f"{self.format(record)}\n")


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        values = " ".join(f"{name}={value}" for name, value in _extra(record).items())
        line = f"{at} {record.levelname.lower():<7} {record.getMessage()} {values}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
