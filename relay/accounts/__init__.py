"""Who may sign in to the console, and by what.

`passwords` has the rules and the slow hash, `service` signs people in and out. Sessions
and secrets are kept by `relay.store.accounts`; pages and the command line ask here, and
cookies are the pages' own.
"""

from relay.accounts.service import (
    Accounts,
    LinkEnded,
    Peer,
    SignedIn,
    TooManyTries,
    WrongPassword,
)

__all__ = [
    "Accounts",
    "LinkEnded",
    "Peer",
    "SignedIn",
    "TooManyTries",
    "WrongPassword",
]
