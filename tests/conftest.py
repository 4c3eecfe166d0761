"""What every suite shares: Hypothesis profiles, and an environment free of settings."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# `make test` takes quick; `make test-all` asks for long with --hypothesis-profile.
settings.register_profile(
    "quick",
    max_examples=60,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "long",
    max_examples=3000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("quick")

# Settings of the person who runs the tests must not reach relays under test.
for _name in [name for name in os.environ if name.startswith("RELAY_")]:
    del os.environ[_name]
