"""Checks of the org: login, API calls, objects, fields, and the shape of writing.

Salesforce hides what our user may not see: a field without permission looks like one
that is not there. So what is missing is named with the permission that brings it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.cli.check_people import owners
from relay.cli.check_sight import sight
from relay.cli.check_writing import writing
from relay.cli.opening import open_store
from relay.core.errors import ConfigError, CredentialsRefused, RelayError
from relay.diagnose.finding import Finding, fail, misconfigured, ok, warn
from relay.diagnose.machine import unmade_store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.config import Settings
    from relay.salesforce import Org, OrgShape
    from relay.salesforce.budget import Budget

READ: Final[Mapping[str, Sequence[str]]] = {
    "Account": ("Name",),
    "Contact": ("Email", "Name", "AccountId", "CreatedDate"),
    "Lead": ("Email", "Name", "IsConverted", "CreatedDate"),
    "Opportunity": ("Name", "IsClosed"),
    "OpportunityContactRole": ("ContactId", "OpportunityId"),
    "User": ("Email", "IsActive", "TimeZoneSidKey"),
}
"""What is looked up; without it mail stays unmatched."""

TASK: Final = (
    "Subject",
    "Status",
    "ActivityDate",
    "Description",
    "OwnerId",
    "WhoId",
    "WhatId",
)
EMAIL_MESSAGE: Final = ("Status", "MessageIdentifier", "Subject", "TextBody", "ToIds")
OPTIONAL: Final[Mapping[str, Sequence[str]]] = {
    "Task": ("TaskSubtype",),
    "EmailMessage": (
        "BccIds",
        "CcIds",
        "FromAddress",
        "FromName",
        "HtmlBody",
        "MessageDate",
        "RelatedToId",
        "ThreadIdentifier",
        "ToAddress",
    ),
}
"""What is written if it may be; without it the record says less."""

MENDS: Final[Mapping[str, str]] = {
    "credentials": "mend the login, then restart the relay: it tries at once",
    "quota": "wait, or buy calls; the relay goes on by itself",
    "budget": "wait, raise the share, or buy calls; the relay goes on by itself",
    "down": "see trust.salesforce.com, the network and the proxy; the relay goes on",
    "access": "do what it says; the relay goes on by itself",
}
"""What to do about a pause, by its reason; mail is accepted and kept meanwhile."""

_UNDECIDED: Final = "auto: the first mail will show whether EmailMessage works"
_GRANT: Final = "give the integration user's permission set"


async def salesforce(loaded: Settings) -> list[Finding]:
    """Log in, and look at what the integration user may see and do."""
    try:
        section = loaded.require_salesforce()
    except ConfigError as error:
        return [misconfigured("salesforce", error)]
    from relay.core.clock import SystemClock  # noqa: PLC0415
    from relay.salesforce import Org  # noqa: PLC0415 - 0.5 s

    org = Org(section, SystemClock())
    await org.start()
    try:
        return [*await _pause(loaded, org), *await _org(loaded, org)]
    finally:
        await org.close()


async def _org(loaded: Settings, org: Org) -> list[Finding]:
    address = str(loaded.salesforce.instance_url)
    try:
        me = await org.me()
    except CredentialsRefused as error:
        mend = "check client_id, its secret or key, and that the app allows this user"
        return [fail("salesforce login", f"{address}: {error}", mend)]
    except RelayError as error:
        mend = "check salesforce.instance_url, the network and the proxy"
        return [fail("salesforce login", f"{address}: {error}", mend)]
    findings = [ok("salesforce login", f"{address} as user {me}")]
    try:
        shape = await org.shape()
        # Salesforce tells the usage with each answer, so it is read after one.
        findings.append(calls(org.budget))
    except RelayError as error:
        mend = "try again; if it stays, allow the user 'API Enabled'"
        return [*findings, fail("salesforce objects", str(error), mend)]
    return [
        *findings,
        *permissions(shape),
        *await owners(loaded, org),
        *await sight(loaded, org, shape),
        await _mode(loaded, shape),
        *writing(loaded.salesforce, shape),
    ]


async def _pause(loaded: Settings, org: Org) -> list[Finding]:
    """Tell whether the running relay rests, and take over what it has counted."""
    from relay.outbox.circuit_breaker import PAUSE_NOTE, USAGE_NOTE, read_pause  # noqa: PLC0415

    check = "salesforce pause"
    if unmade_store(loaded):
        return [ok(check, "none")]
    try:
        async with open_store(loaded) as store:
            org.budget.load(await store.note_get(USAGE_NOTE))
            pause = read_pause(await store.note_get(PAUSE_NOTE))
    except (RelayError, ConfigError) as error:
        return [warn(check, f"the store cannot be asked: {error}", "see store")]
    if pause is None:
        return [ok(check, "none")]
    return [fail(check, pause.report, MENDS.get(pause.reason, ""))]


def calls(budget: Budget) -> Finding:
    """Tell how many calls are used, by whom, and how long they last."""
    check, reading = "api calls", budget.reading()
    if reading.used is None:
        return warn(check, "not told yet", "nothing to mend")
    detail = budget.sentence()
    if text := budget.exhausted():
        mend = "wait, or buy calls: nothing is written until then, mail is kept"
        return fail(check, f"{text}; {detail}", mend)
    if budget.near:
        return warn(check, detail, "see who else uses them, or buy more")
    return ok(check, detail)


def permissions(shape: OrgShape) -> list[Finding]:
    """Compare what describe shows with what the relay reads and writes."""
    findings = [_readable(shape, name, fields) for name, fields in READ.items()]
    findings.append(_writable(shape, "Task", TASK))
    if shape.has_email_message:
        findings.append(_writable(shape, "EmailMessage", EMAIL_MESSAGE))
    else:
        detail = "may not be created: mail is logged as Tasks"
        mend = f"{_GRANT} Create on EmailMessage, if Enhanced Email is on"
        findings.append(warn("EmailMessage", detail, mend))
    return findings


def _readable(shape: OrgShape, name: str, fields: Sequence[str]) -> Finding:
    if not shape.has(name):
        return fail(name, "is not visible", f"{_GRANT} Read on {name}")
    missing = [field for field in fields if shape.field(name, field) is None]
    if missing:
        listed = ", ".join(missing)
        return fail(name, f"hidden: {listed}", f"{_GRANT} Read on these fields")
    return ok(name, "can be looked up")


def _writable(shape: OrgShape, name: str, fields: Sequence[str]) -> Finding:
    if name not in shape.createables:
        # Activities have no object permission of their own.
        right = "Edit Tasks" if name == "Task" else f"Create on {name}"
        return fail(name, "may not be created", f"{_GRANT} '{right}'")
    missing = [field for field in fields if not shape.createable(name, field)]
    if missing:
        listed = ", ".join(missing)
        return fail(name, f"may not set: {listed}", f"{_GRANT} Edit on these fields")
    if name == "EmailMessage" and name not in shape.deletables:
        # The first write in auto mode is taken back where it makes no activity.
        detail = "can be written, not deleted: a first try in vain would stay"
        mend = f"{_GRANT} Delete on EmailMessage, or set salesforce.write_as"
        return warn(name, detail, mend)
    less = [f for f in OPTIONAL.get(name, ()) if not shape.createable(name, f)]
    if less:
        listed = ", ".join(less)
        mend = f"{_GRANT} Edit on them, if they are wanted"
        return warn(name, f"can be written, without {listed}", mend)
    return ok(name, "can be written")


async def _mode(loaded: Settings, shape: OrgShape) -> Finding:
    from relay.core.clock import SystemClock  # noqa: PLC0415
    from relay.outbox.mode import WriteMode  # noqa: PLC0415 - brings the worker

    check = "write mode"
    chosen = loaded.salesforce.write_as
    if chosen == "nothing":
        mend = "set salesforce.write_as when you have seen enough"
        return warn(check, "nothing: mail is planned and shown, not written", mend)
    if chosen == "email_message" and not shape.has_email_message:
        mend = "set salesforce.write_as to auto or task"
        return fail(check, "email_message, which may not be created here", mend)
    if unmade_store(loaded) and chosen == "auto":
        return ok(check, _UNDECIDED)
    try:
        async with open_store(loaded) as store:
            decided = WriteMode(loaded.salesforce, store, SystemClock())
            mode = await decided.known(shape)
    except (RelayError, ConfigError) as error:
        return warn(check, f"{chosen}; the store cannot be asked: {error}", "see store")
    if mode is None:
        return ok(check, _UNDECIDED)
    return ok(check, f"{mode} (salesforce.write_as is {chosen})")
