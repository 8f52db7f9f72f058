"""Compiles and runs the tests of `jobs/java` (`tests/java/src`): JUnit on the job's class path, without a cluster."""

import re
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO
from xml.etree import ElementTree as ET

from stack.downloads import cached, jars, made
from stack.flink_home import opened, pyflink
from stack.java import java
from stack.operators import compile_java, digest, libraries, operators
from stack.processes import Command

SOURCES, CASES = Path(__file__).parent / "src", Path(__file__).parents[1] / "cases"
_SECONDS = 300
_TEST = re.compile(r"@(?:Parameterized)?Test\b.*?\bvoid (\w+)\(", re.DOTALL)
_INT = struct.Struct(">i")
_QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx1g")


def names() -> list[str]:
    """The tests by class and method, as the sources have them: known without a compiler."""
    return [
        f"{source.stem}.{method}"
        for source in sorted(SOURCES.rglob("*Test.java"))
        for method in _TEST.findall(source.read_text(encoding="utf-8"))
    ]


@cache
def class_path() -> tuple[Path, ...]:
    """The compiled tests, then all that they need: the operators' jar as jobs get it among it.

    Raises:
        BadConfiguration: PyFlink is not installed.
        Unavailable: a jar can't be fetched, or a source does not compile.
    """
    flink = pyflink()
    path = [operators(flink), *libraries(flink), *sorted(jars("java-tests").glob("*.jar"))]
    sources = sorted(SOURCES.rglob("*.java"))

    def build(folder: Path) -> None:
        folder.mkdir()
        compile_java(sources, path, folder / "classes")

    # The jar is named by what it was compiled from, in its folder's name.
    folder = cached() / f"java-tests-{digest([*sources, path[0]], path)}"
    return (made(folder, "the tests of jobs/java", build) / "classes", *path)


def _command(main: str, *arguments: str) -> list[str]:
    path = ":".join(str(one) for one in class_path())
    return Command(
        [java(), *_QUICK, f"-Dbitlake.cases={CASES}", *opened(), "-cp", path, main, *arguments]
    ).launched()


def run(main: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a class of the tests to its end; what it printed is in one text."""
    return subprocess.run(
        _command(main, *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


def results(folder: Path) -> tuple[dict[str, list[str | None]], str]:
    """Run all tests.

    Args:
        folder: where the report goes.

    Returns:
        For each test, as `names` tells it, what was wrong in each of its runs, None being nothing; and what
        Java printed.
    """
    done = run(
        "org.junit.platform.console.ConsoleLauncher",
        "execute",
        f"--scan-class-path={class_path()[0]}",
        f"--reports-dir={folder}",
        "--details=tree",
        "--disable-banner",
        "--disable-ansi-colors",
        "--config=junit.jupiter.execution.timeout.default=60s",
    )
    found: dict[str, list[str | None]] = {}
    for name, wrong in _reported(folder):
        found.setdefault(name, []).append(wrong)
    return found, done.stdout


def _reported(folder: Path) -> Iterator[tuple[str, str | None]]:
    for report in folder.glob("TEST-*.xml"):
        for case in ET.parse(report).getroot().iter("testcase"):
            wrong = [one for kind in ("failure", "error", "skipped") for one in case.iter(kind)]
            text = "\n".join(one.text or one.get("message") or one.tag for one in wrong)
            method = case.get("name", "").partition("(")[0]
            yield f"{case.get('classname', '').rpartition('.')[2]}.{method}", text if wrong else None


class JavaFailed(Exception):
    """What was asked failed in Java; the text is the trace, or why the job would stop."""


class Answers:
    """Asks `bitlake.Answers`, a process of Java, what the job's classes make of bytes."""

    def __init__(self, to: IO[bytes], of: IO[bytes]) -> None:
        self._to, self._of = to, of

    def ask(self, what: str, *parts: bytes | str | int | None) -> list[bytes | None]:
        """Ask for one thing.

        Raises:
            JavaFailed: there is no answer.
        """
        sent = [what.encode(), *(str(one).encode() if isinstance(one, str | int) else one for one in parts)]
        self._to.write(b"".join((_INT.pack(len(sent)), *(sized(one) for one in sent))))
        self._to.flush()
        count = self._int()
        if count < 0:
            raise JavaFailed((self._part() or b"").decode())
        return [self._part() for _ in range(count)]

    def _int(self) -> int:
        return int(_INT.unpack(self._read(_INT.size))[0])

    def _part(self) -> bytes | None:
        length = self._int()
        return None if length < 0 else self._read(length)

    def _read(self, length: int) -> bytes:
        found = self._of.read(length)
        assert len(found) == length, "Java has ended: what it printed says why"
        return found


def sized(part: bytes | None) -> bytes:
    """A part as Java reads it: its length, big-endian, -1 for None, and its bytes."""
    return _INT.pack(-1) if part is None else _INT.pack(len(part)) + part


@contextmanager
def answers() -> Iterator[Answers]:
    """Java for questions, as long as the context lasts."""
    with subprocess.Popen(
        _command("bitlake.Answers"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Answers(process.stdin, process.stdout)
        process.stdin.close()
        assert process.wait(60) == 0
