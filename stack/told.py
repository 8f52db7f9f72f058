"""What a user sees of errors that the folder of a stack, or whose it is, brings about."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import BadInput

_FOREIGN = (errno.EACCES, errno.EPERM, errno.EROFS)
_OTHER_FOLDER = "Move it away, or take another folder: --config FOLDER/lake.yaml."


@contextmanager
def places_told() -> Iterator[None]:
    """Tell a file that is a folder, a folder that is a file, and what can't be read or written.

    Raises:
        BadInput: instead of such an OSError.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None or isinstance(error.filename, int):
            raise
        told = _told(Path(os.fsdecode(error.filename)), error)
        if told is None:
            raise
        raise told from error


def _told(place: Path, error: OSError) -> BadInput | None:
    if error.errno == errno.EISDIR:
        return is_a_folder(place)
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        file = next((one for one in (place, *place.parents) if one.is_file()), place)
        return BadInput(f"{file} is a file, where a folder is needed.", next_step=_OTHER_FOLDER)
    if error.errno in _FOREIGN:
        return BadInput(
            f"{place}: {error.strerror}.",
            next_step="Take a folder that you may write: --config FOLDER/lake.yaml; or do it as its owner.",
        )
    return None


def is_a_folder(place: Path) -> BadInput:
    """The error of a folder where a file should be."""
    return BadInput(f"{place} is a folder, where a file is needed.", next_step=_OTHER_FOLDER)
