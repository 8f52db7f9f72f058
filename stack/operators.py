"""The job's own Java operators (`jobs/java`), compiled once by a compiler that needs no JDK."""

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

from stack.downloads import cached, jars, made
from stack.java import java
from stack.processes import Command, run

SOURCES = Path(__file__).parents[1] / "jobs" / "java"
_RELEASE = "17"
"""The oldest Java that Flink 2.1 is told to run on."""


def operators(flink: Path) -> Path:
    """The jar.

    Args:
        flink: the distribution whose classes it is compiled against.
    """
    sources = sorted(SOURCES.rglob("*.java"))
    path = libraries(flink)

    def build(folder: Path) -> None:
        folder.mkdir()
        compile_java(sources, path, folder / "classes")
        with zipfile.ZipFile(folder / "bitlake-flink.jar", "w", zipfile.ZIP_DEFLATED) as jar:
            for compiled in sorted((folder / "classes").rglob("*.class")):
                jar.write(compiled, compiled.relative_to(folder / "classes"))

    name = f"operators-{digest(sources, path)}"
    return made(cached() / name, "the job's operators", build) / "bitlake-flink.jar"


def libraries(flink: Path) -> list[Path]:
    """The jars that the operators find beside them in Flink's lib/.

    Args:
        flink: the distribution.
    """
    own = [*sorted((flink / "lib").glob("*.jar")), *sorted((flink / "opt").glob("flink-python-*.jar"))]
    return own + sorted(jars("flink-lib").glob("*.jar"))


def compile_java(sources: Sequence[Path], path: Sequence[Path], folder: Path) -> None:
    """Compile sources into a folder of classes.

    Args:
        path: what they are compiled against.

    Raises:
        Unavailable: the compiler refuses them.
    """
    compiler = next(jars("compiler").glob("ecj-*.jar"))
    options = ["-source", _RELEASE, "-target", _RELEASE, "-nowarn", "-proc:none", "-d", str(folder)]
    against = ":".join(str(one) for one in path)
    run(Command([java(), "-jar", str(compiler), *options, "-cp", against, *map(str, sources)]), folder.parent)


def digest(sources: Sequence[Path], path: Sequence[Path]) -> str:
    """Tells what was compiled from other sources, or against other libraries."""
    found = hashlib.sha256("\n".join(one.name for one in path).encode())
    for source in sources:
        found.update(source.read_bytes())
    return found.hexdigest()[:16]
