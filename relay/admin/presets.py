"""Presets: named sets of rules that act like another program.

A preset says the value of every rule that its model has an answer to, and each answer
has its ground. Rules that only a company can know (its domains, conditions, look-ups of
its own objects) are in none but `default`, which takes every rule back to its default.

Source: Salesforce Help, "How Does Email to Salesforce Work?", "Guidelines for Using
Email to Salesforce", "Considerations for Using Email to Salesforce".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from relay.admin.rule_change import RuleChange, replayable
from relay.admin.settings import OF_FILE, in_force
from relay.core.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.config import Settings
    from relay.core.model import Json

_RULES: Final = ("match.", "automatic.")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a preset, with the ground for its value."""

    value: Json
    ground: str


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of rules.

    Attributes:
        name: As it is applied.
        help: What it acts like, in a sentence.
        rules: By key; None: every rule, at its default.
        differs: In what it does not act like its model, a sentence each.
    """

    name: str
    help: str
    rules: Mapping[str, Rule] | None
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PresetRow:
    """A rule of a preset beside what holds now.

    Attributes:
        key: The setting.
        now: The value in force.
        then: The value of the preset.
        kept: What the store is to hold for it; None where the file has it already.
        ground: Why the preset says so.
    """

    key: str
    now: Json
    then: Json
    kept: Json
    ground: str

    @property
    def differs(self) -> bool:
        """Say whether the preset changes the rule."""
        return bool(self.now != self.then)

    def as_json(self) -> dict[str, Json]:
        """Return the stable names that `--json` prints."""
        return {
            "key": self.key,
            "now": self.now,
            "then": self.then,
            "differs": self.differs,
            "ground": self.ground,
        }


_NOBODY_ELSE: Final[Mapping[str, Rule]] = {
    "match.contact_condition": Rule("", "every Contact counts"),
    "match.lead_condition": Rule("", "every Lead counts"),
    "match.opportunity_condition": Rule("", "every open Opportunity counts"),
    "match.account_opportunities": Rule(
        value=False, ground="Opportunities come by contact role alone"
    ),
    "match.accounts": Rule([], "no Account is found by the domain of an address"),
    "match.lookups": Rule([], "no records are found through the person"),
    "match.more_objects": Rule([], "Contacts and Leads alone are looked for"),
    "match.confidential": Rule("log", "no mark keeps a mail out"),
    "match.body": Rule("full", "the whole text is kept"),
    "match.body_rules": Rule([], "for everybody"),
}
"""Rules of the relay that neither model has."""

_E2S: Final[Mapping[str, Rule]] = {
    "match.objects": Rule(
        ["contact", "lead", "person_account"], "Contacts and Leads, by To and Cc"
    ),
    "match.contact_email_fields": Rule(["Email"], "custom e-mail fields never match"),
    "match.lead_email_fields": Rule(["Email"], "custom e-mail fields never match"),
    "match.follow_converted_leads": Rule(
        value=False, ground="a Lead that was converted is not looked for"
    ),
    "match.several": Rule(
        "all", "its choices: all, oldest, most_activity; set the one you have there"
    ),
    "match.opportunities": Rule("all", "all open ones in which a Contact has a role"),
    "match.thread": Rule(value=False, ground="each mail is looked up by itself"),
    "match.visibility": Rule("user", "it works with the rights of the user"),
    "match.internal_domains": Rule([], "every address in To and Cc is looked up"),
    "match.more_headers": Rule([], "who is in Bcc or Reply-To is never related"),
    "match.record_tags": Rule("on", "(ref: ID) in the first 5,000 characters"),
    "match.remove_tags": Rule(value=False, ground="tags stay in the text"),
    "match.unmatched_task": Rule(
        value=True, ground="what fits no record is an open Task of the user"
    ),
    **_NOBODY_ELSE,
}

_INBOX: Final[Mapping[str, Rule]] = {
    "match.objects": Rule(
        ["contact", "lead", "person_account"], "Contacts, Leads and person accounts"
    ),
    "match.contact_email_fields": Rule(["auto"], "every field of type e-mail"),
    "match.lead_email_fields": Rule(["auto"], "every field of type e-mail"),
    "match.several": Rule("all", "each record with the address"),
    "match.visibility": Rule("user", "it works with the rights of the user"),
    **_NOBODY_ELSE,
}

PRESETS: Final[Mapping[str, Preset]] = {
    preset.name: preset
    for preset in (
        Preset("default", "Every rule at its default, as the relay comes.", None),
        Preset(
            "email-to-salesforce",
            "Salesforce's own Email to Salesforce.",
            _E2S,
            (
                "mail that names nobody makes no open Task: relay unmatched list",
                "what is excluded is skipped, and does not wait to be assigned",
                "mail that a program wrote is skipped: automatic.KIND",
                "EmailMessages where the org has them, else Tasks: salesforce.write_as",
            ),
        ),
        Preset(
            "inbox",
            "Salesforce's integration for mailboxes: every e-mail field.",
            _INBOX,
            ("Opportunities, tags and your own domains stay as they are",),
        ),
    )
}


def preset_of(name: str) -> Preset:
    """Return a preset by its name.

    Raises:
        InvalidInput: There is none of that name.
    """
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise InvalidInput(f"there is no preset {name}", f"write one of {known}")
    return PRESETS[name]


def compare(
    preset: Preset, settings: Settings, kept: Mapping[str, Json]
) -> list[PresetRow]:
    """Return each rule of a preset beside the value that holds now.

    Args:
        preset: The preset.
        settings: The file and the environment.
        kept: The values in the store.
    """
    now = {row.key: row.value for row in in_force(settings, kept)}
    in_file = {row.key: row.value for row in in_force(settings, {})}
    return [
        PresetRow(
            key,
            now[key],
            rule.value,
            None if in_file[key] == rule.value else rule.value,
            rule.ground,
        )
        for key, rule in _rules_of(preset, settings).items()
    ]


def change_of(rows: list[PresetRow]) -> RuleChange:
    """Return what the store is to hold other than now, for the rules that differ."""
    return RuleChange({row.key: row.kept for row in rows if row.differs})


def tried(rows: list[PresetRow]) -> RuleChange:
    """Return the part of `change_of` that can be tried on past mail."""
    values = change_of(rows).settings
    return RuleChange({key: one for key, one in values.items() if replayable(key)})


def _rules_of(preset: Preset, settings: Settings) -> Mapping[str, Rule]:
    if preset.rules is not None:
        return preset.rules
    return {
        key: Rule(_default(settings, key), "default")
        for key in OF_FILE
        if key.startswith(_RULES)
    }


def _default(settings: Settings, key: str) -> Json:
    section, name = key.split(".")
    model: Any = type(getattr(settings, section))
    return model().model_dump(mode="json", include={name})[name]
