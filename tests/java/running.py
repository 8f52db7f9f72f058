"""Compiles and runs the tests of `jobs/java` (`tests/java/src`): JUnit on the job's class path, without a cluster."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

from stack.downloads import cached, jars, made
from stack.flink_home import opened, pyflink
from stack.java import java
from stack.operators import compile_java, digest, libraries, operators
from stack.processes import Command

SOURCES = Path(__file__).parent / "src"
_SECONDS = 300
_TEST = re.compile(r"@(?:Parameterized)?Test\b.*?\bvoid (\w+)\(", re.DOTALL)
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


def run(main: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a class of the tests to its end; what it printed is in one text."""
    path = ":".join(str(one) for one in class_path())
    argv = [java(), *_QUICK, *opened(), "-cp", path, main, *arguments]
    return subprocess.run(
        Command(argv).launched(),
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
