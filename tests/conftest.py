"""Settings of all tests."""

from hypothesis import settings

# How long an example takes depends on the machine; no test of ours is about time.
settings.register_profile("svformer", deadline=None)
settings.load_profile("svformer")
