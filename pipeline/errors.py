"""Every error that bitlake raises on purpose.

One base, four categories, a retryable flag, and what to do next. An error keeps its arguments as
attributes, so that callers branch on values and not on text.
"""

from enum import StrEnum


def is_panic(error: BaseException) -> bool:
    """Whether a library written in Rust has panicked: that class is no Exception, and can't be imported."""
    return type(error).__name__ == "PanicException"


class Category(StrEnum):
    """Who can do something about an error."""

    BAD_INPUT = "bad input"
    BAD_CONFIGURATION = "bad configuration"
    UNAVAILABLE = "unavailable"
    INTERNAL = "fault of ours"


class BitlakeError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: what happened, in one sentence.
        next_step: what the reader should do now, in one sentence.
    """

    category = Category.INTERNAL
    retryable = False

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message}\n  {self.next_step}" if self.next_step else self.message


class BadInput(BitlakeError):
    """The data, or an argument of a command, can't be used."""

    category = Category.BAD_INPUT


class BadConfiguration(BitlakeError):
    """lake.yaml or the environment is wrong."""

    category = Category.BAD_CONFIGURATION


class Unavailable(BitlakeError):
    """A catalog, an object store or a broker does not answer, or another process has what is needed."""

    category = Category.UNAVAILABLE
    retryable = True


class Refused(BitlakeError):
    """Going on would lose or double rows; a person has to decide."""

    category = Category.BAD_CONFIGURATION
