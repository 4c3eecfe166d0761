"""The dry run: what would be logged for a mail, and why. Writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import relay.activity
import relay.mail
import relay.match
import relay.sender
from relay.attachments.stage import file_rules
from relay.core.addresses import address_key
from relay.match import Several
from relay.worker.drafting import Drafting
from relay.worker.owners import owner_of

if TYPE_CHECKING:
    from datetime import datetime

    from relay.config import Settings
    from relay.core.directory import Directory, User
    from relay.core.model import Email
    from relay.outbox.mode import WriteMode
    from relay.salesforce import Org

REFUSED: Final = "refused"
"""The state shown for what never becomes a message."""


async def explain(
    settings: Settings,
    org: Org,
    mode: WriteMode,
    *,
    directory: Directory,
    user: User,
    raw: bytes,
    now: datetime,
) -> dict[str, Any]:
    """Say what would become of a mail of this user.

    Returns:
        `state` (`logged`, `unmatched`, `skipped`, `refused`), `reason`, `people`
        (address, name, place), `records` (object, id, name, rule), `unknown`
        (addresses), `write_as`, `activities` (object, slot, key, rule, fields), and
        `files` (name, and why it is left out).
        `refused` is what the sender would be told during SMTP; Salesforce is not
        asked then, and `mend` is the command that lets such a sender in.

    Raises:
        UnparsableMessage: No mail can be read from the bytes.
        SalesforceUnavailable, OrgPaused: Salesforce could not be asked.
    """
    email = relay.mail.parse(raw)
    verdict = relay.sender.judge(
        [value for name, value in relay.mail.header_fields(raw) if name == "from"],
        user,
        directory.accepted.get(user.id, frozenset()),
    )
    plan = relay.match.plan(
        email,
        directory,
        user_id=user.id,
        relay_domains=settings.smtp.domains,
        limit=settings.salesforce.max_addresses_per_mail,
    )
    told: dict[str, Any] = {
        "state": "skipped" if plan.skipped else "unmatched",
        "reason": plan.detail,
        "subject": email.subject,
        "people": [
            {"address": p.address, "name": p.name, "place": str(p.place)}
            for p in plan.people
        ],
        "records": [],
        "unknown": [],
        "write_as": None,
        "activities": [],
        "files": [],
    }
    if not user.active:
        mend = f"{user.email} is disabled: relay user enable {user.email}"
        return told | {"state": REFUSED, "reason": mend}
    if not verdict.accepted:
        told |= {"state": REFUSED, "reason": verdict.text}
        if verdict.reason == relay.sender.NOT_ACCEPTED:
            told["mend"] = relay.sender.acceptance(user.email, verdict.address)
        return told
    if not plan.people:
        return told
    key = None if user.salesforce_id else address_key(user.email)
    several = Several(directory.settings.get("match.several") or settings.match.several)
    result = await org.lookup.find(
        sorted(person.key for person in plan.people),
        user_emails=[key] if key else [],
        user_ids=[user.salesforce_id] if user.salesforce_id else [],
        activity_counts=several is Several.MOST_ACTIVITY,
    )
    match = relay.match.choose(plan.people, result.found, several)
    told["records"] = [
        {"object": c.object, "id": c.id, "name": c.name, "rule": c.rule}
        for c in (*match.who, *match.what)
    ]
    told["unknown"] = [person.address for person in match.unknown]
    if not match.who:
        told["reason"] = "no Contact or open Lead has one of these addresses"
        return told
    owner = owner_of(user, result.users)
    if owner is None:
        told["state"] = "queued"
        told["reason"] = (
            f"no single active Salesforce user has {user.email}: name one with "
            f"'relay user set {user.email} --salesforce-id ID'"
        )
        return told
    shape = await org.schema.get()
    shape_mode = await mode.likely(shape)
    drafts = Drafting(settings, lambda: directory).drafts(
        email,
        match,
        mail_key=email.key1,
        owner=owner,
        mode=shape_mode,
        shape=shape,
        received_at=now,
    )
    told |= {
        "state": "skipped" if mode.shadow else "logged",
        "reason": "shadow mode: nothing is written" if mode.shadow else "",
        "write_as": str(shape_mode),
        "activities": [
            {
                "object": d.object,
                "slot": d.slot,
                "key": d.key,
                "rule": d.rule,
                "fields": dict(d.fields),
            }
            for d in drafts
        ],
        "files": _files(settings, email, raw),
    }
    return told


def _files(settings: Settings, email: Email, raw: bytes) -> list[dict[str, Any]]:
    """Return what would become a File, and what would not, with the reason."""
    plan = relay.activity.plan_files(
        email,
        file_rules(settings.salesforce),
        mail_id=0,
        blob_id="",
        raw_bytes=len(raw),
        activity_keys=["any"],
    )
    sent = [{"name": draft.name, "left_out": ""} for draft in plan.drafts]
    return sent + [{"name": name, "left_out": reason} for name, reason in plan.left_out]
