"""The one way in: what a mail must pass before it is stored, whichever door it took.

`accept` has the way of a mail, step by step, and its answer; `rules` says what is
accepted, on values alone; `judging` finds out who sent it; `buffer` keeps the bytes in
bounded memory, and `disk_space` keeps the disk above its floor; `refusals` makes and
records what is refused. How a peer is talked to, and in which words it is refused, is
left to the doors: `relay.smtp`, `relay.web`, `relay import`.
"""

from relay.intake.accept import Accepted, IncomingMail, Intake, Origin, Refused
from relay.intake.buffer import CRLFPieces, MailBuffer, with_crlf
from relay.intake.judging import Authenticates, Senders
from relay.intake.refusals import (
    Occasion,
    RefusalRecorder,
    Rejection,
    probe_sender,
)
from relay.intake.rules import Addressee, LineEnds

__all__ = [
    "Accepted",
    "Addressee",
    "Authenticates",
    "CRLFPieces",
    "IncomingMail",
    "Intake",
    "LineEnds",
    "MailBuffer",
    "Occasion",
    "Origin",
    "RefusalRecorder",
    "Refused",
    "Rejection",
    "Senders",
    "probe_sender",
    "with_crlf",
]
