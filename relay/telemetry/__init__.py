"""What the relay says about itself: events (the log), metrics, health.

Every part logs through `get_logger` and counts in `relay.telemetry.metrics`; the app
runs `relay.telemetry.health`. The decision trace of a mail is not here: it is stored
with the mail. The web framework is imported by `server` and `health` alone, so that a
command which only logs starts fast.
"""

from relay.telemetry.events import bound, configure_logging, get_logger

__all__ = ["bound", "configure_logging", "get_logger"]
