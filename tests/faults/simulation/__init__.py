"""Whole lives of bitlake in one process, on a virtual clock, by a seed: what befell them happens again by it.

The catalog, the object store, the state, the topic and the files are in memory, and fail as the seed says;
processes are killed, stopped and started again. The engine itself is the product's: its threads are real,
but only one runs at a time, and which one goes on is the seed's choice as well (`tests.faults.simulation.world`).
"""

from tests.faults.simulation.rivals import Rivals
from tests.faults.simulation.story import Outcome, SeedFailed, Story, simulate

__all__ = ["Outcome", "Rivals", "SeedFailed", "Story", "simulate"]
