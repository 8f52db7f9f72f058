"""Which process holds a lease, as a later one on the same machine can tell whether it still runs."""

import os
from pathlib import Path

_PROC = Path("/proc")
_STATE, _START = 0, 19
"""Fields of ``/proc/PID/stat`` behind the command's name."""
_DEAD = "ZX"


def this_process() -> str:
    """What tells this process from all others of all machines; empty where that can't be known."""
    return _named(os.getpid())


def has_ended(process: str) -> bool:
    """Whether a process that `this_process` named has ended; not if it may run where it can't be seen."""
    place, _, which = process.rpartition("/")
    pid = which.partition("-")[0]
    if not pid.isdigit() or place != _place():
        return False
    return _named(int(pid)) != process


def _place() -> str:
    """The machine since its last start, and the name space of its processes: containers have their own."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _named(pid: int) -> str:
    """A running process of this place, whose id is another's later; empty if there is none."""
    place = _place()
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return f"{place}/{pid}-{fields[_START]}" if place and fields[_STATE] not in _DEAD else ""
