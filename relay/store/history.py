"""The history of everything that an admin edits, and taking a change back.

Each edit left a row with who, what, before and after (`relay.store.edits`). Undoing one
is an edit of its own, with a row of its own that names the change it takes back. It is
refused where the state has moved on since: an undo must never undo what came later.
Secrets are in no row, so that a change of one cannot be taken back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, insert, or_, select, update

from relay.core.addresses import address_key, fold_ascii
from relay.core.directory import SkipKind, Source, User
from relay.core.errors import Conflict, NotFound
from relay.core.model import OPEN_TASK
from relay.core.states import IN_SALESFORCE
from relay.store import schema
from relay.store.acts import acts_among
from relay.store.context import Part
from relay.store.edits import (
    edit_directory,
    read_settings,
    read_users,
    write_audit,
)
from relay.store.values import chunks, iso, load, replace_value, stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Row, Select

    from relay.core.model import Json
    from relay.store.edits import Edit

h = schema.audit.c

_FOR_GOOD: Final = {
    "user_rotate": "relay addresses are secrets that the history does not hold; "
    "give the user a new one: relay user rotate USER",
    "app_password_remove": "the relay kept a digest of the password alone; make a new "
    "one: relay user app-password add USER",
    "api_token_remove": "the relay kept a digest of the token alone; make a new one: "
    "relay token add NAME",
    "api_token_add": "remove the token by its name: relay token remove NAME",
    "record_create": "the record is in Salesforce; delete it there",
    "unmatched_unresolve": "choose the records again: relay "
    "unmatched resolve ID RECORD",
    "user_salesforce_address": "addresses of Email to Salesforce are secrets that the "
    "history does not hold; name it again: relay user logging USER --address ADDRESS",
    "reminder_feed_add": "end the feed: relay reminder feed USER --end",
    "reminder_feed_remove": "the relay kept a digest of the secret alone; make a new "
    "one: relay reminder feed USER",
    "message_taken_back": "do it again: relay retry, hold, release or discard",
    "address_claim": "a code that was mailed expires by itself",
    "sign_in_link": "a link expires by itself, or ends with the next: relay user link "
    "USER",
}
"""Changes that cannot be taken back, with what helps."""
_NO_CHANGE_OF_A_USER: Final = frozenset({"sign_in_link"})
"""What stands in the history of a user, and changes nothing that an undo would lose."""


class History(Part):
    """What was changed by whom, and its undoing."""

    async def find(
        self,
        user_id: int | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        by: str = "",
        change: str = "",
        before_id: int | None = None,
        only_id: int | None = None,
        limit: int | None = None,
    ) -> list[dict[str, Json]]:
        """Return changes, oldest first; of one user, or of everybody and everything.

        Args:
            user_id: Of whom; None: of all.
            since: Made from then on.
            until: Made before then.
            by: Part of the name of who made them, whatever its case.
            change: What was changed: an action such as `address_add`, or its first
                word, such as `address`.
            before_id: Older than this change.
            only_id: This change alone.
            limit: So many at most, the latest.

        The names are stable: `id at actor action
        user before after undoes undone_by undoable`; `user` is the address of the user
        as it is now, or what else was changed. `undoable` says whether a change can
        be taken back still, unless what it changed was changed since.
        """
        query = select(schema.audit).order_by(h.id.desc())
        if user_id is not None:
            query = query.where(h.user_id == user_id)
        if since is not None:
            query = query.where(h.at >= stamp(since))
        if until is not None:
            query = query.where(h.at < stamp(until))
        if by:
            query = query.where(
                func.lower(h.actor).contains(by.lower(), autoescape=True)
            )
        if change:
            begins = h.action.startswith(f"{change}_", autoescape=True)
            query = query.where(or_(h.action == change, begins))
        if before_id is not None:
            query = query.where(h.id < before_id)
        if only_id is not None:
            query = query.where(h.id == only_id)
        if limit is not None:
            query = query.limit(limit)

        return await self._context.read(lambda connection: _listed(connection, query))

    async def note(
        self, action: str, subject: str, actor: str, user_id: int | None
    ) -> None:
        """Write what somebody did that changed nothing, such as reading a mail."""
        now = self._context.now()
        await self._context.write(
            lambda connection: write_audit(
                connection, now, actor, action, (subject, None, None), user_id=user_id
            )
        )

    async def undo(self, change_id: int, actor: str) -> str:
        """Take a change back; return in words what holds again.

        Raises:
            NotFound: There is no such change.
            Conflict: It cannot be taken back, or what it changed was changed since;
                the text says which, and nothing was changed.
        """

        def work(edit: Edit) -> str:
            row = edit.connection.execute(
                select(schema.audit).where(h.id == change_id)
            ).first()
            if row is None:
                text = f"there is no change {change_id}; `relay history` lists them"
                raise NotFound(text)
            by = _undone(edit.connection, [row.id]).get(row.id)
            if by is not None:
                text = f"change {change_id} was taken back already, by change {by}"
                hint = f"to make change {change_id} hold again, undo change {by}"
                raise Conflict(text, hint)
            if reason := _FOR_GOOD.get(row.action):
                text = f"{_words(row.action)} cannot be taken back: {reason}"
                raise Conflict(text, reason)
            undo = _UNDO.get(row.action) or _undo_column
            edit.undoes = row.id
            return undo(edit, _Change(row))

        return await edit_directory(self._context, actor, work)


def _listed(connection: Connection, query: Select[Any]) -> list[dict[str, Json]]:
    """Return the rows of a query, oldest first, under their stable names."""
    rows = connection.execute(query).all()[::-1]
    users = schema.users.c
    emails = {
        row.id: row.email for row in connection.execute(select(users.id, users.email))
    }
    numbers = [row.id for row in rows]
    undone = _undone(connection, numbers)
    acts = acts_among(connection, numbers)
    found: list[dict[str, Json]] = []
    for row in rows:
        act = acts.get(row.id)
        subject = emails.get(row.user_id, row.subject)
        if row.action.startswith("message_"):
            subject = row.subject
        if act is not None and act.count > 1:
            subject = f"{act.count} messages"
        is_kept = can_undo(row.action) if act is None else act.is_kept
        found.append(
            {
                "id": row.id,
                "at": iso(row.at),
                "actor": row.actor,
                "action": row.action,
                "user": subject,
                "before": None if row.old is None else load(row.old),
                "after": None if row.new is None else load(row.new),
                "undoes": row.undoes,
                "undone_by": undone.get(row.id),
                "undoable": is_kept and row.id not in undone,
            }
        )
    return found


class _Change:
    """A row of the audit with its values read."""

    def __init__(self, row: Row[Any]) -> None:
        self.id: int = row.id
        self.action: str = row.action
        self.subject: str = row.subject
        self.user_id: int | None = row.user_id
        self.old: Any = None if row.old is None else load(row.old)
        self.new: Any = None if row.new is None else load(row.new)
        self.at: int = row.at

    def moved_on(self, now: object, what: str) -> Conflict:
        """Return the error for a state that is not what this change left."""
        return Conflict(
            f"{what} is {_said(now)} now, and not {_said(self.new)} as change "
            f"{self.id} left it: "
            "it was changed since (relay history shows by whom)",
            "undo the later change first, or change it anew",
        )


def _words(name: str) -> str:
    return name.replace("_", " ")


def _said(value: object) -> str:
    """Write a value of the audit as a person reads it."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)


def _undone(connection: Connection, ids: list[int]) -> dict[int, int]:
    """Return which of these changes were taken back, and by which."""
    if not ids:
        return {}
    query = select(h.undoes, h.id).where(h.undoes.between(min(ids), max(ids)))
    return {row.undoes: row.id for row in connection.execute(query)}


# ------------------------------------------------------------------ users


def _user(edit: Edit, change: _Change) -> User:
    """Return the user of a change, who was not removed since."""
    for user in read_users(edit.connection, edit.now, change.user_id or 0):
        if user.removed_at is None:
            return user
        text = (
            f"{user.name} was removed since; take that back first (relay history "
            f"{user.email})"
        )
        raise Conflict(text)
    text = f"the user of change {change.id} is not known any more"
    raise Conflict(text)


_COLUMNS: Final = frozenset(
    {"name", "active", "role", "salesforce_id", "time_zone", "notify", "language"}
    | {"log_by"}
)
"""What an edit changes of a user, one at a time."""


def _undo_column(edit: Edit, change: _Change) -> str:
    """Give a user's name, role, state, notices, Salesforce user or time zone back."""
    column = change.action.removeprefix("user_")
    if column not in _COLUMNS:
        text = f"{_words(change.action)} cannot be taken back by the relay"
        raise Conflict(text)
    user = _user(edit, change)
    now = getattr(user, column)
    if now != change.new:
        raise change.moved_on(now, f"the {_words(column)} of {user.email}")
    edit.connection.execute(
        update(schema.users)
        .where(schema.users.c.id == user.id)
        .values({column: change.old})
    )
    edit.done(change.action, user, now, change.old)
    return f"the {_words(column)} of {user.email} is {_said(change.old)} again"


def _undo_email(edit: Edit, change: _Change) -> str:
    user = _user(edit, change)
    if user.email != change.new["email"]:
        raise change.moved_on(user.email, "the address of the user")
    before = str(change.old["email"])
    key = address_key(before) or fold_ascii(before)
    users = schema.users
    edit.refuse_if(
        select(users.c.id).where(users.c.email_key == key, users.c.id != user.id),
        f"another user has the address {before} by now",
    )
    _refuse_taken(edit, change, user.id, key)
    edit.connection.execute(
        update(users).where(users.c.id == user.id).values(email=before, email_key=key)
    )
    edit.add_address(user.id, key, Source.OWN)
    left = address_key(user.email) or fold_ascii(user.email)
    # What was on the list before it became the user's own stays there.
    keeps = left == key or not edit.is_own(user.id, left)
    if not keeps:
        edit.remove_address(user.id, left)
    edit.done(
        "user_email", user, {"email": user.email}, {"email": before, "keep_old": keeps}
    )
    words = "may send on" if keeps else "may not send"
    return f"{user.name} has the address {before} again; {left} {words}"


def _undo_add(edit: Edit, change: _Change) -> str:
    """Remove a user who was added, and is as they were then."""
    user = _user(edit, change)
    later = select(h.id, h.action).where(
        h.user_id == user.id,
        h.id > change.id,
        h.undoes.is_(None),
        h.action.not_in(_NO_CHANGE_OF_A_USER),
    )
    rows = edit.connection.execute(later.order_by(h.id)).all()
    undone = _undone(edit.connection, [row.id for row in rows])
    for row in rows:
        if row.id not in undone:
            text = (
                f"{user.email} was changed since (change {row.id}, "
                f"{_words(row.action)}); to remove the user with all of that: relay "
                "user remove USER"
            )
            raise Conflict(text)
    edit.done("user_remove", user, edit.end_user(user), None)
    return f"{user.name} <{user.email}> is removed"


def _undo_remove(edit: Edit, change: _Change) -> str:
    """Bring a removed user back, with the relay addresses that ended then."""
    users, tokens = schema.users, schema.relay_addresses
    (user,) = read_users(edit.connection, edit.now, change.user_id or 0) or (None,)
    if user is None or user.removed_at is None or stamp(user.removed_at) != change.at:
        text = f"{change.subject} was brought back since change {change.id}"
        raise Conflict(text)
    key = address_key(user.email) or fold_ascii(user.email)
    edit.refuse_if(
        select(users.c.id).where(users.c.email_key == key),
        f"another user has the address {user.email} by now",
    )
    edit.connection.execute(
        update(users)
        .where(users.c.id == user.id)
        .values(active=change.old["active"], removed_at=None, email_key=key)
    )
    ended = (tokens.c.user_id == user.id) & (tokens.c.ended_at == change.at)
    newest = edit.connection.scalar(
        select(tokens.c.token)
        .where(ended)
        .order_by(tokens.c.created_at.desc(), tokens.c.token)
        .limit(1)
    )
    # The older ones had a grace time of which nothing is known any more.
    edit.connection.execute(
        update(tokens)
        .where(tokens.c.token == newest)
        .values(expires_at=None, ended_at=None)
    )
    for one in change.old["accepted"]:
        _refuse_taken(edit, change, user.id, _key(one))
        _add(edit, user.id, one)
    back = edit.user(user.id)
    edit.done("user_restore", back, None, change.old)
    return (
        f"{user.name} <{user.email}> is back with the relay address; app passwords "
        "and tokens are not"
    )


def _undo_restore(edit: Edit, change: _Change) -> str:
    return _undo_add(edit, change)


# ------------------------------------------------------------------ addresses


def _key(value: Any) -> str:
    """Return the address of an audit's value (see `Edit.accepted`)."""
    return str(value["address"] if isinstance(value, dict) else value)


def _refuse_taken(edit: Edit, change: _Change, user_id: int, key: str) -> None:
    """Refuse where an address sends for another user since a change.

    Raises:
        Conflict: It does.
    """
    table = schema.accepted_addresses.c
    edit.refuse_if(
        select(table.id).where(
            table.address == key, table.user_id != user_id, table.added_at > change.at
        ),
        f"{key} sends for another user by now; to let it send for both: "
        "relay address add USER ADDRESS",
    )


def _add(edit: Edit, user_id: int, value: Any) -> None:
    given: Mapping[str, Any] = value if isinstance(value, dict) else {}
    source = Source(given.get("source", Source.ADMIN))
    edit.add_address(user_id, _key(value), source, given.get("delegate", ""))


def _undo_address(edit: Edit, change: _Change) -> str:
    """Take an accepted address away again, or give it back, or as it was."""
    user = _user(edit, change)
    key = _key(change.old if change.new is None else change.new)
    now = edit.accepted(user.id, key)
    if now != change.new:
        raise change.moved_on(now or "not accepted", f"{key} for {user.email}")
    edit.remove_address(user.id, key)
    if change.old is None:
        edit.done("address_remove", user, now, None)
        return f"{key} may not send for {user.email} any more"
    _refuse_taken(edit, change, user.id, key)
    _add(edit, user.id, change.old)
    edit.done("address_add", user, now, change.old)
    return f"{key} may send for {user.email} again"


def _undo_password(edit: Edit, change: _Change) -> str:
    user = _user(edit, change)
    table = schema.app_passwords
    this = (table.c.user_id == user.id) & (table.c.name == change.new)
    if not edit.connection.execute(delete(table).where(this)).rowcount:
        text = f"{user.email} has no app password {change.new!r} any more"
        raise Conflict(text)
    edit.done("app_password_remove", user, change.new, None)
    return f"the app password {change.new!r} of {user.email} is removed"


# ------------------------------------------------------------------ rules


def _undo_exclusion(edit: Edit, change: _Change) -> str:
    """Take an exclusion away again, or give it back as it was."""
    about: User | str = (
        change.subject if change.user_id is None else _user(edit, change)
    )
    table = schema.exclusions
    before = change.old
    if isinstance(before, str):  # An older relay did not keep how it was left out.
        before = [before, SkipKind.MAIL.value]
    pattern = (change.new or before)[0]
    now = edit.excluded(pattern, change.user_id)
    if now != change.new:
        raise change.moved_on(now or "not left out", pattern)
    edit.connection.execute(
        delete(table).where(
            table.c.pattern == pattern,
            table.c.user_id.is_not_distinct_from(change.user_id),
        )
    )
    if before is None:
        edit.done("exclude_remove", about, now, None)
        return f"{pattern} is not left out any more"
    skip = before[1]
    edit.connection.execute(
        insert(table).values(
            pattern=pattern,
            user_id=change.user_id,
            skip=skip,
            added_at=edit.now,
            added_by=edit.actor,
        )
    )
    edit.done("exclude_add", about, now, before)
    return f"{pattern} is left out again ({skip})"


def _undo_setting(edit: Edit, change: _Change) -> str:
    now = read_settings(edit.connection).get(change.subject)
    if now != change.new:
        raise change.moved_on(now, change.subject)
    replace_value(edit.connection, schema.settings, change.subject, change.old)
    edit.done("setting_set", change.subject, now, change.old)
    what = "from the file or by default" if change.old is None else _said(change.old)
    return f"{change.subject} is {what} again"


def _undo_settings(edit: Edit, change: _Change) -> str:
    """Take a change of several settings back as a whole, or not at all."""
    kept = read_settings(edit.connection)
    now = {key: kept.get(key) for key in change.new}
    for key, value in change.new.items():
        if now[key] != value:
            text = (
                f"{key} is {_said(now[key])} now, and not {_said(value)} as change "
                f"{change.id} left it: it was changed since (relay history shows by "
                "whom)"
            )
            raise Conflict(text)
    for key, value in change.old.items():
        replace_value(edit.connection, schema.settings, key, value)
    edit.done("settings_set", change.subject, now, change.old)
    return f"{', '.join(change.old)} are as before {change.subject}"


def _undo_alias(edit: Edit, change: _Change) -> str:
    """Let an address belong to its record again."""
    key = change.subject
    now = edit.alias(key)
    if now != change.new:
        raise change.moved_on(now or "nobody's", key)
    edit.set_alias(key, change.old)
    edit.done("alias_add" if change.old else "alias_remove", key, now, change.old)
    if change.old is None:
        return f"{key} belongs to no record any more"
    return f"{key} belongs to {change.old[1]} {change.old[0]} again"


def _undo_resolve(edit: Edit, change: _Change) -> str:
    """Forget on which records a person wanted mails, and what was remembered then."""
    a, r = schema.activities.c, schema.resolutions.c
    sure = [state.value for state in IN_SALESFORCE]
    for mails in chunks(change.new["mails"]):
        edit.refuse_if(
            select(a.id)
            .where(a.mail_id.in_(mails), a.state.in_(sure), a.slot != OPEN_TASK)
            .limit(1),
            "the mail is in Salesforce by now; relay undo ID takes it out again",
        )
    for numbers in chunks(change.new["resolutions"]):
        edit.connection.execute(delete(schema.resolutions).where(r.id.in_(numbers)))
    for key in change.new["remembered"]:
        edit.set_alias(key, (change.old or {}).get(key))
    edit.done("unmatched_unresolve", change.subject, change.new, None)
    return f"nobody has chosen records for {change.subject}"


_UNDO: Final[Mapping[str, Callable[[Edit, _Change], str]]] = {
    "user_email": _undo_email,
    "user_add": _undo_add,
    "user_remove": _undo_remove,
    "user_restore": _undo_restore,
    "address_add": _undo_address,
    "address_remove": _undo_address,
    "app_password_add": _undo_password,
    "exclude_add": _undo_exclusion,
    "exclude_remove": _undo_exclusion,
    "setting_set": _undo_setting,
    "settings_set": _undo_settings,
    "unmatched_resolve": _undo_resolve,
    "alias_add": _undo_alias,
    "alias_remove": _undo_alias,
}


def can_undo(action: str) -> bool:
    """Say whether changes of this kind can be taken back at all."""
    if action in _FOR_GOOD:
        return False
    return action in _UNDO or action.removeprefix("user_") in _COLUMNS
