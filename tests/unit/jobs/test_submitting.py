"""What the process that submits a job says on standard error."""

import logging

import pytest

from jobs.submitting import relay


def test_its_logs_are_logged_here_with_what_they_tell(caplog: pytest.LogCaptureFixture) -> None:
    line = (
        '{"timestamp": "2026-11-30T06:00:00Z", "level": "warning", "logger": "pipeline.flink.growth",'
        ' "event": "100 % evolved", "dataset": "bonds", "columns": "bonds.rating"}\n'
    )
    assert relay(line)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("pipeline.flink.growth", logging.WARNING)
    assert record.getMessage() == "100 % evolved"
    assert (record.__dict__["dataset"], record.__dict__["columns"]) == ("bonds", "bonds.rating")


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: sun.misc.Unsafe\n",
        "{\n",
        "12\n",
        "[]\n",
        "\n",
        '{"level": "loud", "logger": "x", "event": ""}',
        "{}",
    ],
)
def test_what_others_write_is_not(line: str, caplog: pytest.LogCaptureFixture) -> None:
    assert not relay(line)
    assert not caplog.records
