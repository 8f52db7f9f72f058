"""`bitlake demo`: a lake on this machine from real data, questions, answers and a picture."""

from pathlib import Path

from rich.console import Console


def run(directory: Path, console: Console, *, force: bool = False) -> None:
    """Make the demo's lake (unless it is there already), ask it questions, draw a picture.

    Args:
        directory: where everything goes; it is made.
        console: where to write.
        force: load again although an earlier demo is finished there.

    Raises:
        BadInput: the directory has other things in it.
    """
    from pipeline.demo.show import show  # brings matplotlib

    show(directory, console, force=force)
