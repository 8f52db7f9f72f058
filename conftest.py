"""How hypothesis runs here."""

import os

from hypothesis import HealthCheck, settings

# A machine shared with servers and compilers is slow now and then: examples have no deadline.
# The same examples in every run, so that a change is judged by itself; BITLAKE_EXPLORE=1 looks for new ones.
settings.register_profile(
    "bitlake",
    deadline=None,
    derandomize=not os.environ.get("BITLAKE_EXPLORE"),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("bitlake")
