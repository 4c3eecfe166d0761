"""Checks of what is written: where the keys are kept, extra fields, the reps' Tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.diagnose.finding import Finding, fail, ok, warn

if TYPE_CHECKING:
    from relay.config import SalesforceSettings
    from relay.salesforce import OrgShape

_OTHERWISE: Final = {
    "EmailMessage": "MessageIdentifier",
    "Task": "the last line of Description",
}
"""Where the key is without a field of its own."""
_WANTED: Final = "run 'relay setup salesforce' for what is missing"


def writing(section: SalesforceSettings, shape: OrgShape) -> list[Finding]:
    """Return what is to be said of how this relay writes to this org."""
    return [
        *keys(section, shape),
        *_extras(section, shape),
        *_handover(shape),
        *_files(section, shape),
    ]


def keys(section: SalesforceSettings, shape: OrgShape) -> list[Finding]:
    """Say for each object where the key is kept that makes it exactly once."""
    findings = []
    for sobject, otherwise in _OTHERWISE.items():
        if sobject not in shape.createables:
            continue
        check, name = f"key of {sobject}", section.key_field
        if name and shape.holds_key(sobject, name):
            findings.append(ok(check, f"in the unique field {name}"))
        elif name and shape.field(sobject, name) is not None:
            text = f"{name} is not usable; the key is in {otherwise}"
            findings.append(warn(check, text, _WANTED))
        else:
            findings.append(ok(check, f"in {otherwise}; there is no unique field"))
    return findings


def _extras(section: SalesforceSettings, shape: OrgShape) -> list[Finding]:
    from relay.worker.drafting import problems  # noqa: PLC0415 - brings the worker

    mend = "correct the setting, or the field and the integration user's rights"
    return [
        fail(f"salesforce.{name}", text, mend)
        for name, text in problems(section, shape)
    ]


def _handover(shape: OrgShape) -> list[Finding]:
    """Say whether the Tasks that the platform makes can be given to their reps."""
    owner = shape.field("Task", "OwnerId")
    if not shape.has_email_message or (owner is not None and owner.updateable):
        return []
    mend = "give the integration user's permission set Edit on Task.OwnerId"
    text = "the Tasks that Salesforce makes of EmailMessages stay with this user"
    return [warn("owner of Tasks", text, mend)]


def _files(section: SalesforceSettings, shape: OrgShape) -> list[Finding]:
    """Say whether attachments can become Files."""
    check = "files"
    if not section.files_attach:
        return [ok(check, "off: attachments stay in the relay")]
    if "ContentVersion" not in shape.createables:
        mend = "let the integration user create Files, or set salesforce.files_attach"
        return [warn(check, "may not be created: attachments wait in the relay", mend)]
    if shape.createable("ContentVersion", "FirstPublishLocationId"):
        return [ok(check, "attachments become Files")]
    return [ok(check, "attachments become Files; links are a call of their own")]
