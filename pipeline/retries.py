"""Calling again what may succeed later."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tenacity import Retrying

Given = ParamSpec("Given")
T = TypeVar("T")


def repeat(policy: Retrying, action: Callable[Given, T], *args: Given.args, **more: Given.kwargs) -> T:
    """Call as a policy says, and leave nothing behind.

    A policy that was used refers to itself (tenacity 9): with all that its callbacks know, a table's metadata
    for one, it would wait for a full collection, which a quiet service has every ten minutes.
    """
    try:
        return policy(action, *args, **more)
    finally:
        policy.iter_state.reset()
