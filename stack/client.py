"""What a process needs that submits jobs with PyFlink: Java, Flink with our jars, and options."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from stack.downloads import cached, jars, made
from stack.flink_home import flink_python, link_all, opened, pyflink
from stack.java import java_home
from stack.operators import operators

HOME = "BITLAKE_FLINK_HOME"
"""Names a Flink that has our jars in lib/ already, as images have; Java is then that of the environment."""
_SOURCE = Path(__file__).parents[1]


def client() -> tuple[Path, Mapping[str, str]]:
    """The Python that has PyFlink, and the environment to run it in.

    Raises:
        BadConfiguration: PyFlink is not installed.
        Unavailable: jars are missing and can't be fetched.
    """
    if named := os.environ.get(HOME):
        return flink_python(), {"FLINK_HOME": named, "JDK_JAVA_OPTIONS": " ".join(opened())}
    python, java = flink_python(), java_home(21)
    path = [str(_SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return python, {
        "JAVA_HOME": str(java),
        "FLINK_HOME": str(client_home()),
        "JDK_JAVA_OPTIONS": " ".join(opened()),
        "PYTHONPATH": ":".join(path),
    }


def client_home() -> Path:
    """A folder like Flink's distribution with our jars in lib/, for the process that submits."""
    source = pyflink()
    operators_jar, libraries = operators(source), jars("flink-lib")
    digest = hashlib.sha256(f"{source}\n{operators_jar}\n{libraries}".encode()).hexdigest()[:16]

    def lay_out(folder: Path) -> None:
        link_all(source / "lib", folder / "lib")
        link_all(libraries, folder / "lib")
        (folder / "lib" / operators_jar.name).symlink_to(operators_jar)
        link_all(source / "opt", folder / "opt")
        link_all(source / "bin", folder / "bin")
        (folder / "conf").mkdir()
        (folder / "conf" / "config.yaml").write_text("execution.target: remote\n")

    return made(cached() / f"client-{digest}", "Flink's client", lay_out)
