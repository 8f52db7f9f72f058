"""What is wrong in a lake.yaml, where, and what to write instead."""

from dataclasses import dataclass
from difflib import get_close_matches

from pydantic_core import PydanticCustomError

from pipeline.errors import BadConfiguration


@dataclass(frozen=True, order=True)
class Mistake:
    """One mistake.

    Attributes:
        line: line in the file, from 1; 0 when the mistake is in the environment.
        column: column in the line, from 1; 0 when the mistake is in the environment.
        path: where in the configuration, e.g. ``datasets[0].columns.coupon.type``; may be empty.
        message: what is wrong.
        fix: what to write instead.
        variable: the environment variable that brought the value, if one did.
    """

    line: int
    column: int
    path: str
    message: str
    fix: str
    variable: str = ""


class ConfigErrors(BadConfiguration):
    """Every mistake in a configuration, in the order of its lines."""

    def __init__(self, mistakes: list[Mistake], *, file: str) -> None:
        self.mistakes = tuple(sorted(set(mistakes)))
        self.file = file
        count = len(self.mistakes)
        noun = "mistake" if count == 1 else "mistakes"
        lines = [self.describe(mistake) for mistake in self.mistakes]
        super().__init__(
            f"{file} has {count} {noun}:\n" + "\n".join(lines),
            next_step="Correct them and try again; `bitlake config schema` prints all that can be written.",
        )

    def describe(self, mistake: Mistake) -> str:
        """One mistake as text: place, what is wrong, what to write."""
        where = mistake.variable or f"{self.file}:{mistake.line}:{mistake.column}"
        path = f"{mistake.path}: " if mistake.path else ""
        return f"{where}: {path}{mistake.message}\n    {mistake.fix}"


def wrong(message: str, fix: str) -> PydanticCustomError:
    """An error for a pydantic validator that keeps what to write instead."""
    text = {"message": message, "fix": fix}
    return PydanticCustomError("bitlake", "{message}", text)


def did_you_mean(word: object, choices: list[str]) -> str:
    """``did you mean 'x'?``, or the choices when none is close."""
    by_lower = {choice.lower(): choice for choice in choices}
    close = get_close_matches(str(word).lower(), by_lower, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{by_lower[close[0]]}'?"
    return "use " + one_of(choices)


def one_of(choices: list[str]) -> str:
    """``a, b or c``."""
    return ", ".join(choices[:-1]) + (" or " if len(choices) > 1 else "") + choices[-1]


def spell(path: tuple[str | int, ...]) -> str:
    """A path as text: ``datasets[0].columns.coupon``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")
