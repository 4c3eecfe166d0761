"""A change of rules that is tried on past mail before it holds.

It says what is to be other than now: values of settings, and further exclusions. It
comes from a file of rules, from one key, or from a preset; `relay.worker.replay`
decides past mail by it. Only rules that decide about a mail in the store can be tried
so: `[match]`, `[automatic]`, `user.address_rules` and exclusions.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from relay.admin.inputs import address_pattern
from relay.admin.settings import OF_FILE, typed_value
from relay.core.addresses import address_key
from relay.core.directory import Exclusion, SkipKind
from relay.core.errors import InvalidInput
from relay.core.mailboxes import AddressRules
from relay.match import with_stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from relay.config import Settings
    from relay.core.directory import Directory
    from relay.core.model import Json

_SECTIONS: Final = ("match", "automatic")
_ADDRESS_RULES: Final = "user.address_rules"
_NO_RULES: Final = frozenset(
    {"match.rematch_s", "match.unmatched_create", "match.unmatched_task"}
)
"""Keys of these sections that say what is done about unmatched mail: whether and where
a mail is logged they do not decide."""
_EXCLUDE: Final = "exclude"
_HOLDS: Final = (
    "a file of rules holds [match], [automatic], address_rules of [user], and "
    "[[exclude]] with pattern, skip and user"
)


@dataclass(frozen=True, slots=True)
class NewExclusion:
    """An exclusion that there is not yet; `user` is the address of one, or empty."""

    pattern: str
    skip: SkipKind
    user: str = ""


@dataclass(frozen=True, slots=True)
class RuleChange:
    """What is to be other than now.

    Attributes:
        settings: Values by the key of a setting; None: the store is to hold none, so
            that the settings file or the default is in force.
        exclusions: Those to be added.
    """

    settings: Mapping[str, Json] = field(default_factory=dict)
    exclusions: tuple[NewExclusion, ...] = ()

    def directory(self, settings: Settings, now: Directory) -> Directory:
        """Return the directory as it would be with this change.

        Args:
            settings: Of the file and the environment.
            now: The directory as the store has it.

        Raises:
            InvalidInput: The values do not fit together, or a user is not known.
        """
        values = {**now.settings, **self.settings}
        kept = {key: value for key, value in values.items() if value is not None}
        added = tuple(_exclusion(one, now) for one in self.exclusions)
        changed = replace(now, settings=kept, exclusions=(*now.exclusions, *added))
        if rules := kept.get(_ADDRESS_RULES):
            changed = changed.read_by(AddressRules.of(rules))
        elif _ADDRESS_RULES in self.settings:
            changed = changed.read_by(AddressRules.of(settings.user.address_rules))
        try:
            with_stored(settings.match, changed)
        except ValueError as error:  # pydantic's own error is one
            text = f"these values of [match] do not fit together: {_first(error)}"
            raise InvalidInput(text) from None
        return settings.directory(changed)

    def as_json(self) -> dict[str, Json]:
        """Return what changes, under names that stay."""
        return {
            "settings": dict(self.settings),
            "exclude": [
                {"pattern": one.pattern, "skip": str(one.skip), "user": one.user}
                for one in self.exclusions
            ],
        }


def read_rules(settings: Settings, text: str) -> RuleChange:
    """Read a file of rules; what it does not name stays as it is now.

    Args:
        settings: Of the file and the environment; they say which keys there are.
        text: TOML.

    Raises:
        InvalidInput: It is no TOML, names what cannot be re-played, or holds a value
            that does not fit; every name that is wrong is in the text.
    """
    try:
        read = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"this is no TOML: {error}", _HOLDS) from None
    if wrong := list(_not_replayed(read)):
        listed = ", ".join(wrong)
        problem = f"{listed} cannot be re-played; take it out of the file"
        raise InvalidInput(problem, _HOLDS)
    values: dict[str, Json] = {}
    for section in (*_SECTIONS, "user"):
        for name, value in read.get(section, {}).items():
            key = f"{section}.{name}"
            values[key] = typed_value(settings, key, value)
    exclusions = tuple(map(_new_exclusion, read.get(_EXCLUDE, [])))
    if not (values or exclusions):
        raise InvalidInput("the file changes nothing", _HOLDS)
    return RuleChange(values, exclusions)


def replayable(key: str) -> bool:
    """Say whether a change of this setting can be tried on past mail."""
    rules = (*(f"{section}." for section in _SECTIONS), _ADDRESS_RULES)
    return key in OF_FILE and key.startswith(rules) and key not in _NO_RULES


def _not_replayed(read: Mapping[str, Any]) -> Iterable[str]:
    """Yield the names of sections and keys that cannot be tried."""
    for section, rows in read.items():
        if section == _EXCLUDE:
            if not (isinstance(rows, list) and all(isinstance(r, dict) for r in rows)):
                yield "exclude (write [[exclude]] above each pattern)"
        elif section in {*_SECTIONS, "user"} and isinstance(rows, dict):
            yield from (
                f"{section}.{name}"
                for name in rows
                if not replayable(f"{section}.{name}")
            )
        else:
            yield f"[{section}]" if isinstance(rows, dict) else section


def _new_exclusion(row: Mapping[str, Any]) -> NewExclusion:
    if wrong := sorted(set(row) - {"pattern", "skip", "user"}):
        problem = f"[[exclude]] has no key {', '.join(wrong)}"
        raise InvalidInput(problem, "write pattern, skip and user")
    pattern, skip = row.get("pattern"), row.get("skip", SkipKind.MAIL.value)
    user = row.get("user", "")
    if not (isinstance(pattern, str) and isinstance(user, str)):
        problem = "[[exclude]] needs a pattern in quotes"
        raise InvalidInput(problem, 'write pattern = "*@example.com"')
    if skip not in {kind.value for kind in SkipKind}:
        problem = f"[[exclude]] has skip = {skip!r}"
        raise InvalidInput(problem, 'write "mail" or "address"')
    return NewExclusion(address_pattern(pattern), SkipKind(skip), user)


def _exclusion(one: NewExclusion, directory: Directory) -> Exclusion:
    if not one.user:
        return Exclusion(one.pattern, None, one.skip)
    key = address_key(one.user)
    for user in directory.users.values():
        if not user.removed_at and address_key(user.email) == key:
            return Exclusion(one.pattern, user.id, one.skip)
    problem = f"there is no user {one.user}"
    raise InvalidInput(problem, "relay user list shows them")


def _first(error: Any) -> str:
    """Return the first mistake that pydantic found, as a sentence."""
    found = error.errors()[0]
    context = found.get("ctx") or {}
    if "problem" in context:
        return f"{context['problem']}; {context['hint']}"
    return f"{'.'.join(map(str, found['loc']))}: {found['msg']}"
