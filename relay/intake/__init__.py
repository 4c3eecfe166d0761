"""The one way in: what a mail must pass before it is stored, whichever door it took."""

from relay.intake.refusals import Occasion, RefusalRecorder, Rejection

__all__ = ["Occasion", "RefusalRecorder", "Rejection"]
