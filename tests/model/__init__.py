"""The naive model: an obviously right, slow implementation of design.md, the judge in property tests."""

from .oracle import Counts, DeadLetter, Model, Origin, Row

__all__ = ["Counts", "DeadLetter", "Model", "Origin", "Row"]
