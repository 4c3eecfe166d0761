"""The org: login, API calls, rights on objects and fields, visibility, writing.

Salesforce hides what the integration user may not see: a field without permission looks
like one that does not exist. So a hint names the permission that brings it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.activity import Mode
from relay.core.clock import SystemClock
from relay.core.errors import ConfigError, CredentialsRefused, RelayError
from relay.core.log_by import WhoDecides, who_decides
from relay.core.org import KEY_LENGTH
from relay.diagnose.finding import Finding, fail, misconfigured, ok, warn
from relay.diagnose.hints import PAUSE_HINTS
from relay.diagnose.people import owners
from relay.match import with_stored
from relay.outbox.mode import WriteMode
from relay.outbox.visibility import HINT, LATEST, Visibility, owner_of
from relay.salesforce import Org
from relay.salesforce.fits import problems_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.config import SalesforceSettings, Settings
    from relay.diagnose.machine import StoreAccess
    from relay.salesforce import OrgSchema
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

_UNDECIDED: Final = "auto: the first mail will show whether EmailMessage works"
_GRANT: Final = "give the integration user's permission set"
_KEY_ELSEWHERE: Final = {
    "EmailMessage": "MessageIdentifier",
    "Task": "the last line of Description",
}
"""Where the key is kept without a field of its own."""
_VISIBILITY: Final = "sight of Tasks"
_DEPLOY: Final = (
    "relay setup salesforce --to DIR, sf project deploy start --metadata-dir DIR, "
    "and assign the permission set Relay_Keys to the integration user"
)


# ------------------------------------------------------------------ login and calls


async def salesforce(settings: Settings, access: StoreAccess) -> list[Finding]:
    """Log in, and look at what the integration user may see and do."""
    try:
        section = settings.require_salesforce()
    except ConfigError as error:
        if await _all_by_bcc(access):
            return [ok("salesforce", "not used: all mail goes to Email to Salesforce")]
        return [misconfigured("salesforce", error)]
    org = Org(section, SystemClock())
    await org.start()
    try:
        return [
            *await _pause(settings, access, org),
            *await _org(settings, access, org),
        ]
    finally:
        await org.close()


async def _all_by_bcc(access: StoreAccess) -> bool:
    """Say whether an admin has decided that nobody's mail goes by the API."""
    try:
        store = access.require()
        if store is None:
            return False
        directory = await store.directory.load()
    except (RelayError, ConfigError):
        return False
    return who_decides(directory) is WhoDecides.BCC_ONLY


async def _org(settings: Settings, access: StoreAccess, org: Org) -> list[Finding]:
    address = str(settings.salesforce.instance_url)
    try:
        me = await org.access.me()
    except CredentialsRefused as error:
        hint = "check client_id, its secret or key, and that the app allows this user"
        return [fail("salesforce login", f"{address}: {error}", hint)]
    except RelayError as error:
        hint = "check salesforce.instance_url, the network and the proxy"
        return [fail("salesforce login", f"{address}: {error}", hint)]
    findings = [ok("salesforce login", f"{address} as user {me}")]
    try:
        schema = await org.schema.get()
        # Salesforce reports the usage with each answer, so it is read after one.
        findings.append(calls(org.budget))
    except RelayError as error:
        hint = "try again; if it stays, allow the user 'API Enabled'"
        return [*findings, fail("salesforce objects", str(error), hint)]
    return [
        *findings,
        *permissions(schema),
        *await owners(access, org),
        *await visibility(settings, access, org, schema),
        await _mode(settings, access, schema),
        *writing(settings.salesforce, schema),
        *await matching(settings, access, org),
    ]


async def matching(settings: Settings, access: StoreAccess, org: Org) -> list[Finding]:
    """Name the settings of [match] that hold now and do not fit the org."""
    match = settings.match
    try:
        store = access.require()
        if store is not None:
            match = with_stored(match, await store.directory.load())
        values = match.model_dump(mode="json")
        wrong = await problems_of(org, {f"match.{k}": v for k, v in values.items()})
    except (RelayError, ConfigError) as error:
        hint = "see the lines above; then relay check again"
        return [warn("matching", f"cannot be tested: {error}", hint)]
    hint = "correct the setting, or the integration user's rights"
    return [fail(key, problem, hint) for key, problem in wrong]


async def _pause(settings: Settings, access: StoreAccess, org: Org) -> list[Finding]:
    """Say whether the relays are paused; take over how many API calls they made."""
    area, address = "salesforce pause", str(settings.salesforce.instance_url)
    try:
        store = access.require()
        if store is None:
            return [ok(area, "none")]
        org.budget.load(await store.usage.get())
        pause = (await store.pauses.get(address)).pause
    except (RelayError, ConfigError) as error:
        return [warn(area, f"the store cannot be asked: {error}", "see store")]
    if pause is None:
        return [ok(area, "none")]
    return [fail(area, pause.report, PAUSE_HINTS.get(pause.reason, ""))]


def calls(budget: Budget) -> Finding:
    """Say how many calls are used, by whom, and how long they last."""
    area, reading = "api calls", budget.reading()
    if reading.used is None:
        return warn(area, "not reported yet", "nothing to do")
    detail = budget.sentence()
    if text := budget.exhausted():
        hint = "wait, or buy calls: nothing is written until then, mail is kept"
        return fail(area, f"{text}; {detail}", hint)
    if budget.near:
        return warn(area, detail, "see who else uses them, or buy more")
    return ok(area, detail)


# ------------------------------------------------------------------ rights


def permissions(schema: OrgSchema) -> list[Finding]:
    """Compare what describe shows with what the relay reads and writes."""
    findings = [_readable(schema, name, fields) for name, fields in READ.items()]
    findings.append(_writable(schema, "Task", TASK))
    if schema.has_email_message:
        findings.append(_writable(schema, "EmailMessage", EMAIL_MESSAGE))
    else:
        detail = "may not be created: mail is logged as Tasks"
        hint = f"{_GRANT} Create on EmailMessage, if Enhanced Email is on"
        findings.append(warn("EmailMessage", detail, hint))
    return findings


def _readable(schema: OrgSchema, name: str, fields: Sequence[str]) -> Finding:
    if not schema.has(name):
        return fail(name, "is not visible", f"{_GRANT} Read on {name}")
    missing = [field for field in fields if schema.field(name, field) is None]
    if missing:
        listed = ", ".join(missing)
        return fail(name, f"hidden: {listed}", f"{_GRANT} Read on these fields")
    return ok(name, "can be looked up")


def _writable(schema: OrgSchema, name: str, fields: Sequence[str]) -> Finding:
    if name not in schema.createables:
        # Activities have no object permission of their own.
        right = "Edit Tasks" if name == "Task" else f"Create on {name}"
        return fail(name, "may not be created", f"{_GRANT} '{right}'")
    missing = [field for field in fields if not schema.createable(name, field)]
    if missing:
        listed = ", ".join(missing)
        return fail(name, f"may not set: {listed}", f"{_GRANT} Edit on these fields")
    if name == "EmailMessage" and name not in schema.deletables:
        # The first write in auto mode is taken back where it makes no activity.
        detail = "can be written, not deleted: a first try in vain would stay"
        hint = f"{_GRANT} Delete on EmailMessage, or set salesforce.write_as"
        return warn(name, detail, hint)
    less = [f for f in OPTIONAL.get(name, ()) if not schema.createable(name, f)]
    if less:
        listed = ", ".join(less)
        hint = f"{_GRANT} Edit on them, if they are wanted"
        return warn(name, f"can be written, without {listed}", hint)
    return ok(name, "can be written")


# ------------------------------------------------------------------ visibility


async def visibility(
    settings: Settings, access: StoreAccess, org: Org, schema: OrgSchema
) -> list[Finding]:
    """Try to read Tasks of every rep for whom some were written lately.

    A Task that the integration user may not see looks like one that does not exist.
    Without this right nothing can be proven absent, and a write whose answer was lost
    stays unknown.
    """
    try:
        store = access.require()
        if store is None or not schema.has("Task"):
            return []
        if await org.access.views_all():
            return [ok(_VISIBILITY, "the user has View All Data")]
        rows = await store.ledger.latest("Task", LATEST)
        reps = {owner_of(row) for row in rows} - {"", await org.access.me()}
        blind = await Visibility(store, org).hidden_owners(reps)
    except (RelayError, ConfigError) as error:
        hint = "see the lines above; then relay check again"
        return [warn(_VISIBILITY, f"cannot be tested: {error}", hint)]
    return [visible(settings.salesforce, schema, len(reps), len(blind))]


def visible(
    section: SalesforceSettings, schema: OrgSchema, reps: int, blind: int
) -> Finding:
    """Say of how many reps no Task can be read, and what follows from it."""
    if not reps:
        return ok(_VISIBILITY, "not proven yet: no Task was written for a rep")
    if not blind:
        return ok(_VISIBILITY, f"Tasks of all {reps} reps with mail can be read")
    text = f"of {blind} of {reps} reps no Task that was written can be read"
    name = section.key_field
    if name and schema.holds_key("Task", name):
        text += ": what was sent without an answer stays unknown"
        return warn(_VISIBILITY, text, HINT)
    text += ": what was sent without an answer is never written again"
    return fail(_VISIBILITY, text, HINT)


# ------------------------------------------------------------------ writing


def writing(section: SalesforceSettings, schema: OrgSchema) -> list[Finding]:
    """Say how this relay writes to this org: keys, extra fields, owners, Files."""
    return [
        *keys(section, schema),
        *_extras(section, schema),
        *_owner_changes(schema),
        *_files(section, schema),
    ]


def keys(section: SalesforceSettings, schema: OrgSchema) -> list[Finding]:
    """Say for each object where the key is kept that makes it exactly once."""
    findings = []
    for sobject, otherwise in _KEY_ELSEWHERE.items():
        if sobject not in schema.createables:
            continue
        area, name = f"key of {sobject}", section.key_field
        if name and schema.holds_key(sobject, name):
            findings.append(ok(area, f"in the unique field {name}"))
        elif name and schema.field(sobject, name) is not None:
            text = f"{name} is not usable; the key is in {otherwise}"
            findings.append(
                warn(area, text, "run 'relay setup salesforce' for what is missing")
            )
        else:
            findings.append(ok(area, f"in {otherwise}; there is no unique field"))
    return findings


def _extras(section: SalesforceSettings, schema: OrgSchema) -> list[Finding]:
    hint = "correct the setting, or the field and the integration user's rights"
    return [
        fail(f"salesforce.{name}", text, hint)
        for name, text in setting_problems(section, schema)
    ]


def _owner_changes(schema: OrgSchema) -> list[Finding]:
    """Say whether the Tasks that the platform makes can be given to their reps."""
    owner = schema.field("Task", "OwnerId")
    if not schema.has_email_message or (owner is not None and owner.updateable):
        return []
    hint = "give the integration user's permission set Edit on Task.OwnerId"
    text = "the Tasks that Salesforce makes of EmailMessages stay with this user"
    return [warn("owner of Tasks", text, hint)]


def _files(section: SalesforceSettings, schema: OrgSchema) -> list[Finding]:
    """Say whether attachments can become Files."""
    area = "files"
    if not section.files_attach:
        return [ok(area, "off: attachments stay in the relay")]
    if "ContentVersion" not in schema.createables:
        hint = "let the integration user create Files, or set salesforce.files_attach"
        return [warn(area, "may not be created: attachments wait in the relay", hint)]
    if schema.createable("ContentVersion", "FirstPublishLocationId"):
        return [ok(area, "attachments become Files")]
    return [ok(area, "attachments become Files; links are a call of their own")]


def setting_problems(
    section: SalesforceSettings, schema: OrgSchema
) -> list[tuple[str, str]]:
    """Return what the settings ask of the org and the org does not have.

    Each is (setting, problem). The worker leaves such a field out and logs the mail.
    """
    wrong: list[tuple[str, str]] = []
    for sobject, name in section.record_type.items():
        known = name in schema.record_types.get(sobject, {})
        if not known or not schema.createable(sobject, "RecordTypeId"):
            wrong.append(
                (
                    f"record_type.{sobject}",
                    f"the integration user has no record type {name}",
                )
            )
    for sobject, fields in section.fields.items():
        for name, value in fields.items():
            info = schema.field(sobject, name)
            place = f"fields.{sobject}.{name}"
            if (sobject, name) == ("EmailMessage", "Headers"):
                wrong.append((place, "Salesforce takes it for incoming mail only"))
            elif info is None:
                wrong.append((place, "there is no such field, or it is hidden"))
            elif not info.createable:
                wrong.append((place, "the integration user may not set it"))
            elif isinstance(value, bool) != (info.type == "boolean"):
                wrong.append((place, f"is a {info.type}, which {value!r} is not"))
            elif (
                info.restricted
                and isinstance(value, str)
                and "{" not in value
                and value not in info.values
            ):
                listed = ", ".join(info.values)
                wrong.append((place, f"takes only {listed}, not {value!r}"))
    return wrong


def key_field(schema: OrgSchema, sobject: str, name: str) -> Finding:
    """Say whether a field can hold the keys of an object, and what it lacks."""
    area = f"{sobject}.{name}"
    if not schema.has(sobject):
        return ok(area, f"the org has no {sobject}; nothing is needed")
    info = schema.field(sobject, name)
    if info is None:
        text = "is not there, or hidden from the relay's user; it is optional"
        return warn(area, text, _DEPLOY)
    lacks = [
        text
        for fits, text in (
            (info.unique, "is not unique"),
            (info.createable, "may not be set by the relay's user"),
            (info.filterable, "cannot be looked up"),
            (info.length >= KEY_LENGTH, f"is shorter than {KEY_LENGTH} characters"),
        )
        if not fits
    ]
    if lacks:
        return fail(area, ", ".join(lacks), _DEPLOY)
    return ok(area, "is unique and can be set")


async def _mode(settings: Settings, access: StoreAccess, schema: OrgSchema) -> Finding:
    area = "write mode"
    chosen = settings.salesforce.write_as
    if chosen == "nothing":
        hint = "set salesforce.write_as when you have seen enough"
        return warn(area, "nothing: mail is planned and shown, not written", hint)
    if chosen == "email_message" and not schema.has_email_message:
        hint = "set salesforce.write_as to auto or task"
        return fail(area, "email_message, which may not be created here", hint)
    if chosen in tuple(Mode):
        return ok(area, f"{chosen} (salesforce.write_as is {chosen})")
    try:
        store = access.require()
        mode = None
        if store is not None:
            decided = WriteMode(settings.salesforce, store, SystemClock())
            mode = await decided.known(schema)
    except (RelayError, ConfigError) as error:
        return warn(area, f"{chosen}; the store cannot be asked: {error}", "see store")
    if mode is None:
        return ok(area, _UNDECIDED)
    return ok(area, f"{mode} (salesforce.write_as is {chosen})")
