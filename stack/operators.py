"""The job's own Java operators (`jobs/java`), compiled once by a compiler that needs no JDK."""

import hashlib
import zipfile
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
    libraries = [*sorted((flink / "lib").glob("*.jar")), *sorted((flink / "opt").glob("flink-python-*.jar"))]
    libraries += sorted(jars("flink-lib").glob("*.jar"))
    digest = hashlib.sha256("\n".join(jar.name for jar in libraries).encode())
    for source in sources:
        digest.update(source.read_bytes())

    def build(folder: Path) -> None:
        folder.mkdir()
        compiler = next(jars("compiler").glob("ecj-*.jar"))
        options = [
            "-source",
            _RELEASE,
            "-target",
            _RELEASE,
            "-nowarn",
            "-proc:none",
            "-d",
            str(folder / "classes"),
        ]
        path = ":".join(str(jar) for jar in libraries)
        run(Command([java(), "-jar", str(compiler), *options, "-cp", path, *map(str, sources)]), folder)
        with zipfile.ZipFile(folder / "bitlake-flink.jar", "w", zipfile.ZIP_DEFLATED) as jar:
            for compiled in sorted((folder / "classes").rglob("*.class")):
                jar.write(compiled, compiled.relative_to(folder / "classes"))

    name = f"operators-{digest.hexdigest()[:16]}"
    return made(cached() / name, "the job's operators", build) / "bitlake-flink.jar"
