"""What the tests on a whole stack share."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

from stack import processes
from stack.control import Background
from stack.plan import ALL, Wanted


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Background]:
    """Everything `bitlake stack` has, once for all workers of this run; tests name things of their own in it.

    The last worker that uses it ends it. It also ends with the process that was started as pytest.
    """
    worker = hasattr(request.config, "workerinput")
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if worker else base) / "stack"
    folder.mkdir(exist_ok=True)
    shared = Background(folder, processes.identity(os.getppid() if worker else os.getpid()))
    with (folder / "starting").open("w") as starting, (folder / "using").open("w") as using:
        fcntl.flock(starting, fcntl.LOCK_EX)
        fcntl.flock(using, fcntl.LOCK_SH)
        if shared.supervisor is None:
            wanted = Wanted(ALL)
            wanted.fetch()
            shared.up(wanted)
        fcntl.flock(starting, fcntl.LOCK_UN)
        yield shared
        fcntl.flock(starting, fcntl.LOCK_EX)
        fcntl.flock(using, fcntl.LOCK_UN)
        with suppress(BlockingIOError):
            fcntl.flock(using, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shared.down()
