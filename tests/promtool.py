"""Prometheus's promtool: the one that is installed, or Debian's, unpacked into the cache without being installed."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from stack.downloads import cached

_PACKAGE = "prometheus"


def promtool() -> str | None:
    """Where it is; None if it is not installed, and apt-get does not have it."""
    installed = shutil.which("promtool")
    if installed is not None:
        return installed
    kept = cached() / "promtool"
    if not kept.exists() and shutil.which("apt-get") is not None:
        _unpack(kept)
    return str(kept) if kept.exists() else None


def _unpack(kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        done = subprocess.run(["apt-get", "download", _PACKAGE], cwd=folder, capture_output=True, check=False)
        packages = list(Path(folder).glob("*.deb"))
        if done.returncode or not packages:
            return
        subprocess.run(["dpkg-deb", "-x", str(packages[0]), folder], check=True)
        (Path(folder) / "usr" / "bin" / "promtool").replace(kept)
