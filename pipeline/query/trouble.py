"""Explaining what goes wrong with a catalog or its warehouse, at no cost while nothing does."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import BitlakeError


@contextmanager
def explained(where: str) -> Iterator[None]:
    """`pipeline.sink.catalog.explained`, whose libraries are imported only when something went wrong."""
    try:
        yield
    except BitlakeError:
        raise
    except Exception:
        from pipeline.sink import catalog

        with catalog.explained(where):
            raise
