"""Turns what the drivers raise into the relay's own errors.

A text built here names a code of the database and nothing else: the drivers' own texts
quote values, and those are people's mail.
"""

from __future__ import annotations

import errno
import sqlite3

from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError

from relay.core.errors import ConfigError, RelayError, StoreFull, StoreUnavailable

_FULL = frozenset({"SQLITE_FULL", "53100", "ENOSPC", "EDQUOT"})
_OURS = (RelayError, ConfigError)
# Errors that a unit causes by its own values: others of its batch may succeed.
_OWN_FAULT = (
    "SQLITE_CONSTRAINT",
    "SQLITE_MISMATCH",
    "SQLITE_TOOBIG",
    "SQLITE_ERROR",
)
_RETRY = frozenset({"40001", "40P01"})


def code(error: BaseException) -> str:
    """Return the database's or system's code for an error, else its class name."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, DBAPIError) and seen.orig is not None:
            seen = seen.orig
        for name in ("sqlite_errorname", "sqlstate"):
            value = getattr(seen, name, None)
            if isinstance(value, str) and value:
                return value
        if isinstance(seen, OSError) and seen.errno is not None:
            return errno.errorcode.get(seen.errno, str(seen.errno))
        seen = seen.__cause__
    return type(error).__name__


def is_foreign(error: BaseException) -> bool:
    """Say whether an error is a driver's or the system's, and must be translated."""
    return (
        isinstance(error, SQLAlchemyError | sqlite3.Error | OSError)
        or getattr(error, "sqlstate", None) is not None
        or type(error).__module__.partition(".")[0] in {"asyncpg", "aiosqlite"}
    )


def translate(error: BaseException) -> BaseException:
    """Return the error to raise instead: ours, with the foreign one as its cause.

    The relay's own errors, and mistakes in its code, come back as they are.
    """
    if isinstance(error, _OURS) or not is_foreign(error):
        return error
    what = code(error)
    ours: StoreUnavailable
    if isinstance(error, TimeoutError):
        ours = StoreUnavailable("the store does not answer")
    elif what in _FULL:
        ours = StoreFull(f"the store's disk is full ({what})")
    else:
        ours = StoreUnavailable(f"the store cannot be used now ({what})")
    ours.__cause__ = error
    return ours


def surely_undone(error: BaseException) -> bool:
    """Say whether a transaction that failed so on SQLite can never come to be.

    Not so where we stopped waiting for it, and where a write or sync failed: what is in
    the log by then may be read from it after a crash.
    """
    what = code(error)
    return what.startswith("SQLITE_") and not what.startswith("SQLITE_IOERR")


def spares_others(error: BaseException) -> bool:
    """Say whether others in the batch may succeed although this error stopped it.

    True for errors that one unit's values cause, and for a full disk, which a large
    unit may hit alone. A locked database or a lost connection stops all units.
    """
    if isinstance(error, DisconnectionError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    ):
        return False
    what = code(error)
    if what in _FULL:
        return True
    if not is_foreign(error):
        return isinstance(error, Exception)
    # SQLSTATE classes 22, 23, 42: bad data, integrity violation, bad statement.
    return (
        what.startswith(_OWN_FAULT)
        or (len(what) == len("23505") and what.startswith(("22", "23", "42")))
        # A statement that failed in our process, before the driver saw it.
        or (isinstance(error, SQLAlchemyError) and not isinstance(error, DBAPIError))
    )


def worth_repeating(error: BaseException) -> bool:
    """Say whether PostgreSQL only asks to run the same transaction again."""
    return code(error) in _RETRY
