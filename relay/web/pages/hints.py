"""What helps a mail, in words for a page: buttons and pages instead of commands.

`relay.diagnose.hints` names commands, which somebody in a browser has not at hand. What
has no words here is said as it is said there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.core.automatic import DEFAULT_RULES
from relay.core.directory import Role
from relay.core.states import NO_SALESFORCE_USER, State
from relay.sender import NOT_ACCEPTED
from relay.web.pages.rule_names import rule_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.access import Caller
    from relay.web.pages.render import Reader

_STRANGER = "nothing, if "
"""How a hint about a refused author begins, unless the author is another user."""


def page_hint(reader: Reader, who: Caller, row: Mapping[str, Any], hint: str) -> str:
    """Return what helps, in the reader's language where it is one of the common cases.

    Args:
        reader: For whom.
        who: What the reader may do.
        row: The message or refusal.
        hint: What `hint_for` says; empty: nothing is known to help.
    """
    _ = reader.gettext
    state, reason = row.get("state"), str(row.get("reason") or "")
    if not hint:
        return ""
    if row.get("kind") == "refusal":
        if reason == NOT_ACCEPTED and hint.startswith(_STRANGER):
            return _(
                "Nothing, if the author is somebody else than %(user)s: the mail was "
                "rightly kept out. If it is the same person, send from one of the "
                "accepted addresses, which are listed on the user's page.",
                user=row["user"],
            )
        return hint
    found = ""
    if state == State.UNMATCHED and reason == "no_recipient":
        found = _(
            "Put the customer in To or Cc, and send the mail again: the relay looks "
            "for nobody else. Or choose “Decide” to name the record."
        )
    elif state == State.UNMATCHED:
        found = _(
            "It is logged by itself once one of its people is in Salesforce. To name "
            "the record now, choose “Decide”."
        )
    elif state == State.SKIPPED and reason in DEFAULT_RULES:
        found = _(
            "The rule “%(rule)s” leaves such mail out. An administrator can change it; "
            "then choose “Try again”.",
            rule=rule_name(reader, f"automatic.{reason}"),
        )
    elif state == State.QUEUED and reason == NO_SALESFORCE_USER:
        found = _(
            "An administrator enters the id of the Salesforce user on the page of the "
            "user; the mail is then tried at once."
        )
    elif state == State.DEAD and hint.startswith("the last step"):
        found = _(
            "The last step below says why. Once the cause is removed, choose “Try "
            "again”; or give the mail up."
        )
    elif state == State.HELD:
        is_admin = who.user is None or who.user.role is Role.ADMIN
        found = (
            _("To let it be logged, choose “Release”.")
            if is_admin
            else _("An administrator can let it be logged.")
        )
    return found or hint
