"""Importing what writes."""

import gc
from importlib import import_module


def import_engine(*more: str) -> None:
    """Import the engine, and modules beside it, without looking for garbage: that is a fifth of a start.

    What was imported stays: the collector does not look at it again, though it works as before afterwards.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        for name in ("pipeline.engine.load", *more):
            import_module(name)
    finally:
        gc.freeze()
        if on:
            gc.enable()
