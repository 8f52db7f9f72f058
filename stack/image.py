"""Flink's home and Java as folders of an image: ``python -m stack.image /opt/flink /opt/java``.

What `bitlake stack` runs here, from the same locked files, but copied instead of linked.
"""

import shutil
import sys
from pathlib import Path

from stack.downloads import jars
from stack.flink_home import pyflink
from stack.java import java_home
from stack.operators import operators


def lay_out(home: Path, java: Path) -> None:
    """Make both folders.

    Args:
        home: PyFlink's distribution with our jars in lib/ and S3 as a plugin.
        java: a Java runtime.
    """
    source = pyflink()
    for name in ("bin", "conf", "lib", "opt", "plugins"):
        shutil.copytree(source / name, home / name)
    for script in (home / "bin").iterdir():
        script.chmod(0o755)
    for jar in [*(source / "opt").glob("flink-python-*.jar"), *jars("flink-lib").glob("*.jar")]:
        shutil.copy(jar, home / "lib")
    shutil.copy(operators(source), home / "lib")
    shutil.copytree(jars("flink-s3"), home / "plugins" / "s3-fs-hadoop")
    shutil.copytree(java_home(21), java, symlinks=True)


if __name__ == "__main__":
    lay_out(*(Path(argument) for argument in sys.argv[1:3]))
