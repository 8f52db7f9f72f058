"""How hypothesis runs here."""

from hypothesis import HealthCheck, settings

# A machine shared with servers and compilers is slow now and then: examples have no deadline.
settings.register_profile("bitlake", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("bitlake")
