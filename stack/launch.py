"""Become a server that ends with its parent: ``python launch.py PARENT [--not-root] [--cpu N] PROGRAM ...``.

It runs before every server, by the interpreter alone: it imports nothing of ours.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_OTHER = 1000


def main() -> None:
    """Set this process up and become the program."""
    parent, *rest = sys.argv[1:]
    if rest[0] == "--not-root":
        rest.pop(0)
        _leave_root()
    if rest[0] == "--cpu":
        os.sched_setaffinity(0, {int(rest[1])})
        rest = rest[2:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it ended before the line above
        sys.exit("the parent has ended")
    os.execvp(rest[0], rest)  # noqa: S606


def _leave_root() -> None:
    """Go on as another user in a namespace where files are still ours: PostgreSQL refuses root."""
    user, group = os.getuid(), os.getgid()
    if user:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER):
        sys.exit(
            f"no namespace of users: {os.strerror(ctypes.get_errno())}. Run this as a user, not as root."
        )
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{_OTHER} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{_OTHER} {group} 1")


if __name__ == "__main__":
    main()
