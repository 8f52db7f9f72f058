"""Options that every command of a lake has, and what they say, before or after the command's name."""

import errno
import inspect
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.output import Format, Output, output_of
from pipeline.errors import BitlakeError, is_panic
from pipeline.logs import LogFormat, configure_logs

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The configuration; default: lake.yaml.", show_default=False),
]
Verbose = Annotated[
    int, typer.Option("--verbose", "-v", count=True, show_default=False, help="Log every step; -vv: more.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, and no logs but errors.")]
Logs = Annotated[
    LogFormat | None,
    typer.Option("--log-format", help="How logs look (BITLAKE_LOG=json does the same).", show_default=False),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show where in the code an error comes from.")]
TakeOver = Annotated[
    bool,
    typer.Option(
        "--take-over", help="Take the dataset from the writer that holds it: that one commits nothing more."
    ),
]


def _duration(text: str) -> timedelta:
    from pipeline.config.units import DURATION_FIX, parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}: {DURATION_FIX}") from error


Wait = Annotated[
    timedelta | None,
    typer.Option(
        "--wait",
        metavar="DURATION",
        parser=_duration,
        help="Queue so long for another process that writes to this lake, such as 10m.",
        show_default=False,
    ),
]
OutputFormat = Annotated[Format, typer.Option("--output", help="How the answer is printed.")]
_COMMON = {"config": Config, "verbose": Verbose, "quiet": Quiet, "log_format": Logs, "debug": Debug}
_DEFAULTS: dict[str, Any] = {
    "format": Format.TABLE,
    "config": None,
    "verbose": 0,
    "quiet": False,
    "log_format": None,
    "debug": False,
}


@dataclass
class Settings:
    """What the options of this call say."""

    config: Path = Path("lake.yaml")
    verbose: int = 0
    quiet: bool = False
    log_format: LogFormat | None = None
    debug: bool = False
    format: Format = Format.TABLE
    answered: bool = False
    """A question was answered, and nothing is left to do."""

    @property
    def output(self) -> Output:
        """Where the answer goes."""
        return output_of(self.format)

    def add(self, **given: Any) -> None:
        """Take over the options that were given."""
        for name, value in given.items():
            if value not in (None, False, 0):
                setattr(self, name, value)

    def configure_logs(self) -> None:
        """Let the logs look as asked for."""
        wanted = self.log_format
        if wanted is None:
            wanted = LogFormat.JSON if os.environ.get("BITLAKE_LOG", "").lower() == "json" else LogFormat.TEXT
        usual = logging.INFO if wanted is LogFormat.JSON else logging.WARNING
        level = logging.ERROR if self.quiet else max(usual - 10 * self.verbose, logging.DEBUG)
        configure_logs(wanted, level)


settings = Settings()
"""The process's one call of the command line; `main` makes it anew."""


@contextmanager
def errors_told() -> Iterator[None]:
    """Tell errors in the format asked for, with what to do next, and exit with status 1."""
    try:
        yield
    except BitlakeError as error:
        if settings.debug:
            raise
        settings.output.error(error)
        raise SystemExit(1) from error
    except (typer.Exit, typer.Abort, typer.TyperException):
        raise
    except BaseException as error:
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        if settings.debug or (isinstance(error, OSError) and error.errno == errno.EPIPE):
            raise
        told = BitlakeError(
            f"{type(error).__name__}: {error}",
            next_step="This is a fault of bitlake. Run it again with --debug and report what it prints.",
        )
        settings.output.error(told)
        raise SystemExit(1) from error


def with_common_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command that has the options of every command too; they are put into `settings`."""
    return _with_options(command, _COMMON)


def answering(command: Callable[..., None]) -> Callable[..., None]:
    """The same for a command that prints an answer: it has --output as well."""
    return _with_options(command, {"format": OutputFormat} | _COMMON)


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """An answering command that only reads: `main` need not tidy up after it."""

    @wraps(command)
    def run(**given: Any) -> None:
        command(**given)
        settings.answered = True

    return answering(run)


def _with_options(command: Callable[..., None], options: dict[str, Any]) -> Callable[..., None]:
    signature = inspect.signature(command)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS[name], annotation=type_)
        for name, type_ in options.items()
    ]

    @wraps(command)
    def run(**given: Any) -> None:
        settings.add(**{name: given.pop(name) for name in options})
        settings.configure_logs()
        with errors_told():
            command(**given)

    parameters = [*signature.parameters.values(), *added]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = command.__annotations__ | options
    return run
