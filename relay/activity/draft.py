"""The records that a mail becomes, drafted but not yet written.

Each record's timeline shows the mail once: a Contact, a Lead or an Opportunity is
named by one draft only. A Lead never stands beside a WhatId, because Salesforce
refuses such a Task and what it does with such an EmailMessage is unknown.

Source: Salesforce Object Reference, "Task", "EmailMessage", "TaskRelation".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from relay.activity.extras import NO_EXTRAS, Extras
from relay.activity.note import html_with_note, with_note
from relay.activity.subject import NO_SUBJECT, subject_of, type_word
from relay.activity.text import LENGTHS, cut, cut_html, one_line, units
from relay.core import template
from relay.core.addresses import address_key, ascii_domain, domain_of
from relay.core.content import in_zone
from relay.core.masking import mask
from relay.core.model import OPEN_TASK, Draft, Match, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from relay.core.model import Attachment, Chosen, Email, Json, Mailbox
    from relay.core.org import OrgSchema

KEY_LINE: Final = "relay-key: "
"""Starts the last line of a Task's Description, which holds the record's key."""

MAX_SHARED_CONTACTS: Final = 50
"""Contacts on one Task with Shared Activities (Object Reference, "TaskRelation")."""

MAX_RELATIONS: Final = 50
"""Contacts and Leads whom one EmailMessage names. Its Task can name no more
(Object Reference, "TaskRelation"); further people get Tasks of their own."""

COMPLETED: Final = "Completed"
_NEVER: Final = frozenset({("EmailMessage", "Headers")})
"""Fields that Salesforce takes for incoming mail only (Object Reference)."""
_MAX_HEADER_LINE: Final = 1000
_EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
_FUTURE: Final = timedelta(days=1)
_MAX_IDENTIFIER: Final = 765
"""Length of EmailMessage.MessageIdentifier (Salesforce Field Reference)."""
_LINKS: Final = ("WhoId", "WhatId", "RelatedToId")
_LISTS: Final = ("TaskWhoIds", "ToIds", "CcIds", "BccIds")

NOTHING: Final[Mapping[str, Json]] = {}

_Named = TypeVar("_Named", "Mailbox", "Attachment")


class Mode(StrEnum):
    """The shape in which a mail is logged."""

    EMAIL_MESSAGE = "email_message"
    TASK = "task"


@dataclass(frozen=True, slots=True)
class Owner:
    """For whom the mail is logged: the Salesforce user, with an IANA time zone."""

    salesforce_id: str
    time_zone: str | None = None


def draft(  # noqa: PLR0913 - what a draft is made of
    email: Email,
    match: Match,
    *,
    mail_key: str,
    owner: Owner,
    mode: Mode,
    org: OrgSchema,
    received_at: datetime,
    relay_domains: Collection[str] = (),
    extras: Extras = NO_EXTRAS,
) -> tuple[Draft, ...]:
    """Return every record that the mail needs, in a fixed order.

    In EmailMessage mode: the EmailMessage, then, as in Task mode, what it does not
    name: people beyond `MAX_RELATIONS`, or who have no part in the mail, and further
    records (all of them where a Lead takes part). In Task mode: a Task for each Contact
    and Lead (contacts share one where Shared Activities is on), each Contact beside a
    record of the mail or an Opportunity of its own as far as there are any, then a Task
    for each record that is left.

    Args:
        email: The mail.
        match: The records chosen; at least one.
        mail_key: The stored identity of the mail; keys are made of it.
        owner: The rep's Salesforce user; owns the Tasks.
        mode: The shape wanted.
        org: What describe says; a field that may not be set is left out, and text is
            cut to the length that it gives.
        received_at: Stands in for an absent or absurd Date header.
        relay_domains: Addresses in these domains are secret: left out of lists, and
            masked where the mail quotes them.
        extras: Keys, colleagues, what the admin wants set, and what to leave out.
    """
    drafter = _Drafter(
        email,
        match,
        mail_key=mail_key,
        owner=owner,
        org=org,
        received_at=received_at,
        relay_domains=frozenset(relay_domains),
        extras=extras,
    )
    if mode is Mode.EMAIL_MESSAGE:
        return tuple(drafter.email_message())
    return tuple(drafter.tasks())


def open_task(
    email: Email,
    *,
    mail_key: str,
    owner: Owner,
    org: OrgSchema,
    received_at: datetime,
    relay_domains: Collection[str] = (),
    extras: Extras = NO_EXTRAS,
) -> Draft:
    """Return the open Task of a mail that fits no record, for its rep to assign.

    It names no record, whatever an admin has set for Tasks. Arguments as for `draft`.
    """
    drafter = _Drafter(
        email,
        Match((), (), ()),
        mail_key=mail_key,
        owner=owner,
        org=org,
        received_at=received_at,
        relay_domains=frozenset(relay_domains),
        extras=extras,
    )
    return drafter.open_task()


def sent_at(
    email: Email, received_at: datetime, time_zone: str | None = None
) -> datetime:
    """Return the date of a mail, or the time of receipt if it is absent or absurd.

    Args:
        email: The mail.
        received_at: When it came.
        time_zone: Of the rep: a date without a zone is read in it.
    """
    date = email.date
    if date is None and email.local_date:
        date = in_zone(email.local_date, time_zone)
    if date is None or not _EARLIEST <= date <= received_at + _FUTURE:
        return received_at
    return date


class _Drafter:
    """Drafts the records of one mail."""

    def __init__(
        self,
        email: Email,
        match: Match,
        *,
        mail_key: str,
        owner: Owner,
        org: OrgSchema,
        received_at: datetime,
        relay_domains: frozenset[str],
        extras: Extras,
    ) -> None:
        self._email = email = without_secrets(email, relay_domains)
        self._match = match
        self._mail_key = mail_key
        self._owner = owner
        self._org = org
        self._sent_at = sent_at(email, received_at, owner.time_zone)
        self._relay_domains = relay_domains
        self._colleagues = extras.colleagues
        self._extras = extras
        self._subject = one_line(email.subject) or NO_SUBJECT
        self._title = subject_of(email, extras.subject)
        self._body: str | None = None

    # ------------------------------------------------------------ EmailMessage

    def email_message(self) -> Iterable[Draft]:
        everyone = self._match.who
        who = [chosen for chosen in everyone if _takes_part(chosen)]
        # FromId names one record; what else the author has gets Tasks.
        authors = [c.id for c in who if c.person and c.person.place is Place.FROM][1:]
        who = [chosen for chosen in who if chosen.id not in authors][:MAX_RELATIONS]
        others = list(self._match.what)
        has_lead = any(chosen.object == "Lead" for chosen in who)
        related = None if has_lead else self._take_related(others)
        if not (who or related):
            # Nobody is there whom an EmailMessage could name.
            yield from self.tasks()
            return
        chosen = [*who, *([related] if related else [])]
        fields = self._email_fields(who, related)
        yield self._draft(
            "email",
            "EmailMessage",
            fields,
            chosen,
            owner=self._extras.task_owner or self._owner.salesforce_id,
        )
        named_ = {each.id for each in who}
        further = [each for each in everyone if each.id not in named_]
        yield from self._tasks(further, others)

    def _take_related(self, records: list[Chosen]) -> Chosen | None:
        """Take the first record that an EmailMessage may relate to."""
        for record in records:
            if self._org.may_name("EmailMessage", "RelatedToId", record.object):
                records.remove(record)
                return record
        return None

    def _email_fields(
        self, who: Sequence[Chosen], related: Chosen | None
    ) -> dict[str, Json]:
        email = self._email
        sender = email.from_[0] if email.from_ else None
        known = {chosen.person.key for chosen in who if chosen.person}
        known |= self._colleagues.keys()
        to_ids, cc_ids = (
            [c.id for c in who if c.person and c.person.place is place]
            for place in (Place.TO, Place.CC)
        )
        self._add_colleagues(to_ids, email.to)
        self._add_colleagues(cc_ids, email.cc, to_ids)
        # A customer in Bcc was hidden from the others, and stays so unless an admin
        # wants such people looked for (`match.more_headers`).
        bcc_ids = [c.id for c in who if c.person and c.person.place is Place.BCC]
        self._add_colleagues(bcc_ids, email.bcc, [*to_ids, *cc_ids])
        return {
            "Status": "3",
            "Incoming": email.incoming,
            "IsClientManaged": True,
            "MessageDate": self._sent_at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "MessageIdentifier": message_identifier(
                email.message_id,
                self._mail_key,
                self._org.length("EmailMessage", "MessageIdentifier"),
            ),
            "ThreadIdentifier": self._thread(),
            "Subject": self._fit("EmailMessage", "Subject", self._title),
            "TextBody": self._fit("EmailMessage", "TextBody", with_note(email)),
            "HtmlBody": cut_html(
                html_with_note(email), self._length("EmailMessage", "HtmlBody")
            ),
            "FromAddress": sender and self._address("FromAddress", sender),
            "FromName": sender
            and self._fit("EmailMessage", "FromName", one_line(sender.name)),
            "FromId": self._sender_id(sender, who),
            "ToAddress": self._addresses("ToAddress", email.to, known),
            "CcAddress": self._addresses("CcAddress", email.cc, known),
            "ToIds": to_ids,
            "CcIds": cc_ids,
            "BccIds": bcc_ids,
            "RelatedToId": related.id if related else None,
        }

    def _sender_id(self, sender: Mailbox | None, who: Sequence[Chosen]) -> str | None:
        """Return the record of the author.

        Of incoming mail it is a Contact or a Lead, if there is one. Else it is a user:
        by address, or for whom the mail is logged.
        """
        if self._email.incoming:
            found = (c.id for c in who if c.person and c.person.place is Place.FROM)
            return next(found, None)
        key = address_key(sender.address) if sender else None
        return self._colleagues.get(key or "", self._owner.salesforce_id)

    def _add_colleagues(
        self, ids: list[str], boxes: Sequence[Mailbox], named: Collection[str] = ()
    ) -> None:
        """Add the users among the recipients, each once in the whole message."""
        for box in self._shown(boxes):
            user = self._colleagues.get(address_key(box.address) or "")
            if user and user not in ids and user not in named:
                ids.append(user)

    def _thread(self) -> str | None:
        """Return the first Message-ID of the thread."""
        email = self._email
        first = (*email.references, *email.in_reply_to, email.message_id or "")[0]
        limit = self._length("EmailMessage", "ThreadIdentifier")
        return first if first and units(first) <= limit else None

    def _address(self, field: str, box: Mailbox) -> str | None:
        """Return an address that fits whole; half an address would be another's.

        Salesforce takes domains in their ASCII form alone.
        """
        address = ascii_domain(box.address)
        fits = units(address) <= self._length("EmailMessage", field)
        return address if fits else None

    def _addresses(
        self, field: str, boxes: Sequence[Mailbox], known: Collection[str]
    ) -> str:
        """Join the addresses without a record, as many as fit whole."""
        limit = self._length("EmailMessage", field)
        line = ""
        if self._extras.subject_alone:
            return line
        for box in self._shown(boxes):
            if address_key(box.address) in known:
                continue
            address = ascii_domain(box.address)
            longer = f"{line}, {address}" if line else address
            if units(longer) > limit:
                break
            line = longer
        return line

    # ------------------------------------------------------------ Task

    def tasks(self) -> Iterable[Draft]:
        return self._tasks(self._match.who, list(self._match.what))

    def _tasks(self, who: Sequence[Chosen], left: list[Chosen]) -> Iterable[Draft]:
        """Draft a Task for each of these people, and for each record that is left."""
        contacts = [c for c in who if c.object == "Contact"]
        if self._org.shared_activities and len(contacts) > 1:
            for start in range(0, len(contacts), MAX_SHARED_CONTACTS):
                group = contacts[start : start + MAX_SHARED_CONTACTS]
                yield self._task(group, _take(left, group))
        else:
            for contact in contacts:
                yield self._task([contact], _take(left, [contact]))
        for lead in who:
            if lead.object == "Lead":
                yield self._task([lead], None)
        for record in left:
            yield self._task((), record)

    def _task(self, who: Sequence[Chosen], what: Chosen | None) -> Draft:
        ids = [chosen.id for chosen in who]
        parts = [f"who={'+'.join(ids)}"] if ids else []
        if what:
            parts.append(f"what={what.id}")
        slot = "task:" + ",".join(parts)
        fields = self._task_fields(slot) | {
            "Status": self._closed_status(),
            "WhoId": ids[0] if ids else None,
            "TaskWhoIds": ids if len(ids) > 1 else None,
            "WhatId": what.id if what else None,
        }
        return self._draft(slot, "Task", fields, [*who, *([what] if what else [])])

    def open_task(self) -> Draft:
        # Salesforce gives its default where the org does not tell its statuses.
        status = next(iter(self._org.open_statuses), None)
        kept = {"Status": status, "WhoId": None, "TaskWhoIds": None, "WhatId": None}
        made = self._draft(OPEN_TASK, "Task", self._task_fields(OPEN_TASK), (), kept)
        return replace(made, rule="nobody in the mail has a record")

    def _task_fields(self, slot: str) -> dict[str, Json]:
        """Return what every Task of the mail has."""
        return {
            "Subject": self._fit("Task", "Subject", self._title),
            "TaskSubtype": "Email",
            "Type": (
                type_word(self._email, self._org) if self._extras.task_type else None
            ),
            "ActivityDate": self._day(),
            "OwnerId": self._extras.task_owner or self._owner.salesforce_id,
            "Description": self._description(activity_key(self._mail_key, slot)),
        }

    def _closed_status(self) -> str:
        """Return the status of a finished Task; orgs may have renamed it."""
        known = self._org.closed_statuses
        return COMPLETED if COMPLETED in known or not known else known[0]

    def _day(self) -> str:
        """Return the mail's date in the owner's zone; in UTC it may be another day."""
        try:
            zone = ZoneInfo(self._owner.time_zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError):
            zone = ZoneInfo("UTC")
        return self._sent_at.astimezone(zone).date().isoformat()

    def _description(self, key: str) -> str:
        """Return header lines, the body, and the key as the last line, never cut.

        Where a field of its own holds the key, people need not see it.
        """
        tail = "" if "Task" in self._extras.key_fields else f"\n\n{KEY_LINE}{key}"
        limit = self._length("Task", "Description") - units(tail)
        if self._body is None:
            email = self._email
            alone = self._extras.subject_alone
            lines = (
                []
                if alone
                else [
                    _header("From", self._names(email.from_)),
                    _header("To", self._names(email.to)),
                    _header("Cc", self._names(email.cc)),
                    _header("Date", self._sent_at.strftime("%Y-%m-%d %H:%M UTC")),
                    _header(
                        "Attachments", ", ".join(a.name for a in email.attachments)
                    ),
                ]
            )
            head = "\n".join(line for line in lines if line)
            self._body = cut(f"{head}\n\n{with_note(email).strip()}".rstrip(), limit)
        return (self._body + tail).lstrip("\n")

    def _names(self, boxes: Sequence[Mailbox]) -> str:
        return ", ".join(
            f"{box.name} <{box.address}>" if box.name else box.address
            for box in self._shown(boxes)
        )

    # ------------------------------------------------------------ both

    def _shown(self, boxes: Sequence[Mailbox]) -> Iterable[Mailbox]:
        """Leave out relay addresses: who knows one could write into the CRM."""
        for box in boxes:
            key = address_key(box.address)
            if not (key and domain_of(key) in self._relay_domains):
                yield box

    def _length(self, sobject: str, field: str) -> int:
        return self._org.length(sobject, field) or LENGTHS[sobject, field]

    def _fit(self, sobject: str, field: str, text: str) -> str:
        return cut(text, self._length(sobject, field))

    def _draft(
        self,
        slot: str,
        sobject: str,
        fields: dict[str, Json],
        chosen: Sequence[Chosen],
        kept: Mapping[str, Json] = NOTHING,
        owner: str | None = None,
    ) -> Draft:
        """Make a draft; fields that are `kept` no setting of an admin changes."""
        key = activity_key(self._mail_key, slot)
        fields |= {**self._extra_fields(sobject, key), **kept}
        key_field = self._extras.key_fields.get(sobject)
        if key_field:
            fields[key_field] = key
        left_out = self._extras.left_out
        sent = {
            name: value
            for name, value in fields.items()
            if value not in (None, "", [])
            and (sobject, name) not in _NEVER
            and self._org.createable(sobject, name)
            and (sobject, name) not in left_out
        }
        people = dict.fromkeys(c.person.key for c in chosen if c.person)
        return Draft(
            slot,
            key,
            sobject,
            sent,
            _rules(chosen),
            tuple(people),
            owner,
            # Not read off a value: an admin's template may hold the key as well.
            key_field if key_field in sent else None,
        )

    # ------------------------------------------------------------ settings

    def _extra_fields(self, sobject: str, key: str) -> dict[str, Json]:
        """Return what the admin wants set, templates filled and cut to size."""
        fields: dict[str, Json] = {}
        if record_type := self._extras.record_types.get(sobject):
            fields["RecordTypeId"] = record_type
        values: dict[str, str] = {}
        for name, content in self._extras.fields.get(sobject, {}).items():
            value: Json = content
            if isinstance(content, str):
                values = values or self._placeholders()
                value = template.fill(content, values | {"key": key})
                if limit := self._org.length(sobject, name):
                    value = cut(value, limit)
            fields[name] = value
        return fields

    def _placeholders(self) -> dict[str, str]:
        """Return the values of `core.template.NAMES`, but for the key."""
        email = self._email
        sender = email.from_[0] if email.from_ else None
        return {
            "subject": self._subject,
            "sender": ascii_domain(sender.address) if sender else "",
            "sender_name": (one_line(sender.name) or sender.address) if sender else "",
            "to": ", ".join(box.address for box in self._shown(email.to)),
            "cc": ", ".join(box.address for box in self._shown(email.cc)),
            "date": self._day(),
            "sent_at": self._sent_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "message_id": email.message_id or "",
            "attachments": ", ".join(a.name for a in email.attachments),
            "user_id": self._owner.salesforce_id,
        }


def _takes_part(chosen: Chosen) -> bool:
    """Say whether a record's person is one whom an EmailMessage names.

    Who is named by a tag, or in Reply-To alone, neither wrote the mail nor got it.
    """
    person = chosen.person
    return person is not None and person.place is not Place.REPLY_TO


def _take(left: list[Chosen], contacts: Sequence[Chosen]) -> Chosen | None:
    """Take the first record that stands beside these contacts.

    It is an Opportunity in which one of them has a role, or what is there for the mail
    as a whole.
    """
    ids = {contact.id for contact in contacts}
    for record in left:
        if not record.through or ids.intersection(record.through):
            left.remove(record)
            return record
    return None


def _rules(chosen: Sequence[Chosen]) -> str:
    """Return the rules that led here, each once."""
    return "; ".join(dict.fromkeys(f"{c.object} {c.id}: {c.rule}" for c in chosen))


def _header(name: str, value: str) -> str:
    return f"{name}: {cut(one_line(value), _MAX_HEADER_LINE)}" if value else ""


# ---------------------------------------------------------------- keys


def activity_key(mail_key: str, slot: str) -> str:
    """Return the key of one record: 40 hexadecimal digits.

    Args:
        mail_key: The stored identity of the mail.
        slot: The record's job within the mail, such as `email`.
    """
    return hashlib.sha256(f"{mail_key}\n{slot}".encode()).hexdigest()[:40]


def message_identifier(
    message_id: str | None, mail_key: str, length: int | None = None
) -> str:
    """Return what goes into EmailMessage.MessageIdentifier.

    It is the mail's own Message-ID; where that is missing or longer than the field,
    one made from the identity of the mail takes its place, in the same form.

    Args:
        message_id: The Message-ID, if the mail has one.
        mail_key: The stored identity of the mail.
        length: UTF-16 units that the org's field holds, if describe says so.
    """
    if message_id and units(message_id) <= (length or _MAX_IDENTIFIER):
        return message_id
    return f"<{mail_key}@relay.invalid>"


def named(fields: Mapping[str, Json]) -> frozenset[str]:
    """Return the ids of the records that a draft puts the mail on."""
    ids = {fields[name] for name in _LINKS if fields.get(name)}
    for name in _LISTS:
        ids.update(fields.get(name) or ())
    return frozenset(ids)


# ---------------------------------------------------------------- secrets


def without_secrets(email: Email, domains: frozenset[str]) -> Email:
    """Return the mail with relay addresses masked in subject, texts and names.

    Whoever answers all quotes them. Addresses of the mail itself stay: what is written
    of those, the draft chooses.

    Args:
        email: The mail.
        domains: The domains of relay addresses.
    """
    if not domains:
        return email
    hide = mask(domains).text
    return replace(
        email,
        subject=hide(email.subject),
        text=hide(email.text),
        note=hide(email.note),
        html=email.html and hide(email.html),
        from_=_named(email.from_, hide),
        forwarder=email.forwarder and _named((email.forwarder,), hide)[0],
        to=_named(email.to, hide),
        cc=_named(email.cc, hide),
        bcc=_named(email.bcc, hide),
        attachments=_named(email.attachments, mask(domains).name),
    )


def _named(things: Sequence[_Named], hide: Callable[[str], str]) -> tuple[_Named, ...]:
    return tuple(
        replace(each, name=hide(each.name)) if "@" in each.name else each
        for each in things
    )
