"""The name of each rule for people, and a threshold of an alert in words.

A key such as `match.several` is for the command line and the settings file; pages show
the name first, and the key in small type beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from babel.numbers import format_percent
from babel.units import format_unit

from relay.core.translate import N_

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES: Final[Mapping[str, str]] = {
    "match.several": N_("Several people with one address"),
    "match.objects": N_("Who is looked for"),
    "match.contact_email_fields": N_("E-mail fields of Contacts"),
    "match.lead_email_fields": N_("E-mail fields of Leads"),
    "match.follow_converted_leads": N_("Contacts of converted Leads"),
    "match.opportunities": N_("Open Opportunities of a Contact"),
    "match.account_opportunities": N_("Open Opportunities of the Account"),
    "match.accounts": N_("Account, where nobody has a record"),
    "match.lookups": N_("Further records by look-up fields"),
    "match.more_objects": N_("Other objects with an e-mail field"),
    "match.contact_condition": N_("Condition for Contacts"),
    "match.lead_condition": N_("Condition for Leads"),
    "match.opportunity_condition": N_("Condition for Opportunities"),
    "match.account_condition": N_("Condition for Accounts"),
    "match.thread": N_("Replies on the records of their conversation"),
    "match.visibility": N_("Whose view of Salesforce counts"),
    "match.unmatched_create": N_("Creating people of unmatched mail"),
    "match.unmatched_task": N_("A Task for unmatched mail"),
    "match.rematch_s": N_("Looking again for records (seconds)"),
    "match.internal_domains": N_("Domains of your company"),
    "match.record_tags": N_("Record ids in the text of a mail"),
    "match.remove_tags": N_("Removing record ids from the text"),
    "match.confidential": N_("Confidential mail"),
    "match.confidential_marks": N_("Words that mark mail as confidential"),
    "match.confidential_sensitivity": N_("Sensitivity that counts as confidential"),
    "match.body": N_("How much of a mail is logged"),
    "match.body_rules": N_("How much is logged, by customer"),
    "match.kinds": N_("What is logged"),
    "match.subject": N_("Subject of what is logged"),
    "match.task_type": N_("Type of the Task"),
    "match.forward_note": N_("Notes above forwarded mail"),
    "match.more_headers": N_("People in Bcc and Reply-To"),
    "user.address_rules": N_("Spellings of one mailbox"),
    "user.language": N_("Language of the relay's mail"),
    "automatic.delivery_report": N_("Delivery reports"),
    "automatic.read_receipt": N_("Read receipts"),
    "automatic.abuse_report": N_("Abuse reports"),
    "automatic.calendar_reply": N_("Answers to invitations"),
    "automatic.auto_reply": N_("Out-of-office replies"),
    "automatic.auto_generated": N_("Mail written by programs"),
    "automatic.list_mail": N_("Mail of mailing lists"),
    "automatic.bulk_mail": N_("Bulk mail"),
    "automatic.null_sender": N_("Mail without a sender"),
    "automatic.reply_suppressed": N_("Mail that wants no automatic reply"),
    "automatic.campaign": N_("Newsletters and sales tools"),
    "notices.level": N_("Notices to users"),
    "web.monitor_sees_bodies": N_("Monitors may read whole mails"),
    "web.require_second_factor": N_("Who needs a second factor"),
    "alerts.connection_after_s": N_("Salesforce cannot be used"),
    "alerts.quota_at": N_("API calls nearly used up"),
    "alerts.queue_age_s": N_("Mail waits too long"),
    "alerts.refusals_per_hour": N_("Many refusals in an hour"),
    "alerts.refusals_times": N_("Refusals compared with the last 7 days"),
    "alerts.silent_days": N_("Nothing logged for a user"),
    "alerts.certificate_days": N_("A certificate ends soon"),
    "alerts.disk_free_bytes": N_("Little disk space"),
    "alerts.remind_hours": N_("An alert is told again"),
    "sender.policy": N_("What proves the sender"),
    "sender.otherwise": N_("Mail without proof of its sender"),
    "sender.forwarded_policy": N_("What proves the sender of forwarded mail"),
    "sender.forwarded_otherwise": N_("Forwarded mail without proof"),
    "sender.monitor": N_("A stricter rule that is only watched"),
    "active": N_("Logging for everybody"),
    "log_by": N_("How mail reaches Salesforce"),
}
"""Each editable setting; a test finds one without a name."""
_MIB: Final = 2**20
_GIB: Final = 2**30
_MINUTE: Final = 60
_HOUR: Final = 3600


class Words(Protocol):
    """What is asked of a reader (`relay.web.pages.render` uses the names itself)."""

    @property
    def language(self) -> str:
        """Its code."""

    def gettext(self, text: str, **values: Any) -> str:
        """Return a text in that language."""

    def ngettext(self, one: str, many: str, number: int, **values: Any) -> str:
        """Return the text that fits a number."""

    def number(self, value: float) -> str:
        """Return a number as that language writes it."""


def rule_name(reader: Words, key: str) -> str:
    """Return the name of a rule in the reader's language.

    One that holds for a domain (`sender.policy.acme.com`) has the domain behind it. A
    key without a name is its own name.
    """
    if key in NAMES:
        return reader.gettext(NAMES[key])
    parts = key.split(".")
    of_all, domain = ".".join(parts[:2]), ".".join(parts[2:])
    if domain and of_all in NAMES:
        return f"{reader.gettext(NAMES[of_all])}: {domain}"
    return key


def threshold(reader: Words, name: str, value: Any) -> str:
    """Return when an alert is raised, such as `5 minutes`; `off` for 0.

    Args:
        reader: For whom.
        name: A setting of `[alerts]`, whose ending is its unit.
        value: Its number.
    """
    _ = reader.gettext
    if not value:
        return _("off")
    if name == "quota_at":
        return format_percent(value, locale=reader.language)
    if name == "refusals_times":
        return _("%(n)s times as many", n=reader.number(value))
    if name == "refusals_per_hour":
        return reader.ngettext("%(n)s refusal", "%(n)s refusals", value)
    if name.endswith("_bytes"):
        whole, unit = (value / _GIB, "GiB") if value >= _GIB else (value / _MIB, "MiB")
        return f"{reader.number(round(whole, 1))} {unit}"
    unit, number = "day", value
    if name.endswith("_hours"):
        unit = "hour"
    elif name.endswith("_s"):
        unit, number = _of_seconds(value)
    return str(format_unit(number, f"duration-{unit}", locale=reader.language))


def _of_seconds(value: float) -> tuple[str, float]:
    """Return the largest unit in which a time is a whole number."""
    for unit, length in (("hour", _HOUR), ("minute", _MINUTE)):
        if value % length == 0:
            return unit, value // length
    return "second", value
