"""Activation, as an admin and a user are told of it: the switch, and the next step.

The org's switch says whether any relay address accepts mail (R12 to R14). A user is
activated one by one (R7), which gives the relay address by itself (R9). Where there is
no address, or mail is not accepted, `guidance` names the one step that is missing, in
the order in which the steps are taken (R10, R11): the command line and the console show
the same sentences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.core.directory import ORG_SWITCH

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from relay.core.directory import User
    from relay.store import Store


# ---------------------------------------------------------------- the org's switch


@dataclass(frozen=True, slots=True)
class OrgSwitch:
    """Whether logging is on, and who switched it last; `at` is None where nobody did.

    Attributes:
        is_on: Relay addresses accept mail.
        at: When it was switched last.
        by: Who did it; empty where nobody did.
    """

    is_on: bool
    at: datetime | None = None
    by: str = ""

    @property
    def text(self) -> str:
        """Return a sentence that says how it is."""
        if self.is_on:
            return "logging is on"
        since = f" since {self.at:%Y-%m-%d %H:%M} UTC, by {self.by}" if self.at else ""
        return (
            f"logging is switched off for everybody{since}: no relay address accepts "
            "mail"
        )

    @property
    def hint(self) -> str:
        """Return the command that switches it on; empty where it is."""
        return "" if self.is_on else "relay activate"


async def org_switch(store: Store) -> OrgSwitch:
    """Return the state of the switch.

    Raises:
        StoreUnavailable: It could not be read.
    """
    is_on = await store.directory.setting(ORG_SWITCH) is not False
    changed = await store.directory.setting_changed(ORG_SWITCH)
    return OrgSwitch(is_on, *(changed or ()))


# ---------------------------------------------------------------- the next step


@dataclass(frozen=True, slots=True)
class Step:
    """A step that is missing before a user's mail is logged.

    Attributes:
        rule: The number of the rule that asks for it, such as `R11`.
        by: `admin` or `user`: who can take it.
        text: What is missing and what to do, in a sentence.
        command: The command that does it.
    """

    rule: str
    by: str
    text: str
    command: str

    def as_json(self) -> dict[str, str]:
        """Return the stable names that `--json` prints."""
        return {
            "rule": self.rule,
            "by": self.by,
            "text": self.text,
            "command": self.command,
        }


def guidance(
    user: User, *, switch: OrgSwitch, address: str | None, accepted: Collection[str]
) -> list[Step]:
    """Return the steps that are missing, in their order; none: mail is accepted.

    Args:
        user: The user.
        switch: The org's switch.
        address: The user's relay address; None where no domain is set.
        accepted: The addresses that may send for the user.
    """
    steps = []
    if not switch.is_on:
        text = (
            "An administrator must enable the feature first: logging is switched off "
            "for everybody, and no relay address accepts mail."
        )
        steps.append(Step("R12", "admin", text, "relay activate"))
    if not address:
        text = (
            "There is no relay address: an administrator must name the domain of "
            "relay addresses in the settings file (smtp.domains) and restart the relay."
        )
        steps.append(Step("R12", "admin", text, "relay check"))
    if not user.active and user.activated_at is None:
        text = f"{user.email} is not activated: the relay address accepts no mail yet."
        steps.append(Step("R7", "admin", text, f"relay user activate {user.email}"))
    elif not user.active:
        text = f"{user.email} is disabled: the relay address accepts no mail."
        steps.append(Step("R7", "admin", text, f"relay user enable {user.email}"))
    if not accepted:
        text = (
            "No address may send for this user: name each address from which the user "
            "writes to customers."
        )
        command = f"relay address add {user.email} ADDRESS"
        steps.append(Step("R11", "admin", text, command))
    return steps


# ---------------------------------------------------------------- mail programs


_PROGRAMS: Final = (
    (
        "Any program",
        (
            "Save the address as a contact named Salesforce, and put that contact into "
            "Bcc of each mail that is to be logged."
        ),
    ),
    (
        "Outlook",
        (
            "Write a mail, then Options > Show Bcc (once), and choose the contact. To "
            "copy every mail, an administrator of Microsoft 365 makes a mail flow rule."
        ),
    ),
    (
        "Gmail",
        (
            "Write a mail, choose Bcc beside To, and choose the contact. To copy every "
            "mail, an administrator of Google Workspace makes a routing rule."
        ),
    ),
    (
        "Apple Mail",
        "View > Bcc Address Field (once), and choose the contact.",
    ),
    (
        "Thunderbird",
        (
            "Account Settings > Copies & Folders > Bcc these email addresses copies "
            "every mail of that account."
        ),
    ),
)


def instructions(address: str, accepted: Collection[str]) -> list[tuple[str, str]]:
    """Return how a user puts the relay address to use: a heading and a text each.

    Args:
        address: The user's relay address.
        accepted: The addresses that may send for the user.
    """
    return [
        ("Address", f"{address} is secret: it logs mail under this user's name."),
        ("From", f"Mail counts if it is sent from {', '.join(sorted(accepted))}."),
        *_PROGRAMS,
        ("All mail", "docs/mail-routing.md has the rules of mail servers."),
    ]
