"""The settings that an admin can change while the relay runs, kept in the store.

A value in the store stands before the one in the settings file. Everything else (ports,
the database, keys) belongs to the file and the environment, and needs a restart. What
is asked of senders can be set for one domain, too: `sender.policy.acme.com` stands
before `sender.policy`.

Two checks stand before a value is saved: `read_value` by itself, and `check_in_org` in
Salesforce, for the keys that `relay.salesforce.fits.CHECKS` has a function for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

from relay.admin.log_by import lack
from relay.config.alerts import RULES as ALERT_RULES
from relay.config.match import MatchSettings
from relay.config.values import is_domain
from relay.core.automatic import DEFAULT_RULES
from relay.core.directory import ORG_SWITCH
from relay.core.errors import InvalidInput
from relay.core.log_by import WHO_DECIDES, WhoDecides
from relay.salesforce.fits import CHECKS, problem_of
from relay.sender.policy import KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.config import Settings
    from relay.core.model import Json
    from relay.salesforce import Org

OF_FILE: Final = (
    *(f"match.{name}" for name in MatchSettings.model_fields),
    "user.address_rules",
    "user.language",
    *(f"automatic.{kind}" for kind in DEFAULT_RULES),
    "notices.level",
    "web.monitor_sees_bodies",
    *(f"alerts.{name}" for name in ALERT_RULES),
    "web.require_second_factor",
    *KEYS,
)
"""Keys of the file that the store may override while the relay runs."""


@dataclass(frozen=True, slots=True)
class OfStore:
    """A setting that only the store has.

    Attributes:
        default: Its value until an admin sets one.
        values: By the words that an admin may write, what they stand for.
        help: What it is for.
    """

    default: Json
    values: Mapping[str, Json]
    help: str


OF_STORE: Final[Mapping[str, OfStore]] = {
    ORG_SWITCH: OfStore(
        default=True,
        values={"true": True, "false": False},
        help="Logging for everybody: true or false. While it is false, no relay "
        "address accepts mail.",
    ),
    WHO_DECIDES: OfStore(
        default=WhoDecides.EACH_USER.value,
        values={one.value: one.value for one in WhoDecides},
        help="How mail reaches Salesforce: each_user (each chooses), api_only, or "
        "bcc_only (a copy to Email to Salesforce, for orgs without API access).",
    ),
}
EDITABLE: Final = (*OF_FILE, *OF_STORE)
"""Every key that the store may hold."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting with the value that holds now.

    Attributes:
        key: Its name, such as `match.several`.
        value: As JSON holds it; a secret is masked.
        source: `store`, `file` (which stands for the environment and defaults too), or
            `default` where the file cannot have it.
        help: What it is for.
    """

    key: str
    value: Json
    source: str
    help: str

    def as_json(self) -> dict[str, Json]:
        """Return the stable names that `relay settings --json` prints."""
        return {
            "key": self.key,
            "value": self.value,
            "source": self.source,
            "help": self.help,
        }


def in_force(settings: Settings, kept: Mapping[str, Json]) -> list[Setting]:
    """Return the editable settings; `kept` are the values in the store."""
    of_domains = [key for key in sorted(kept) if base(key) in KEYS and key not in KEYS]
    return [
        *(_of_file(settings, kept, key) for key in OF_FILE),
        *(_of_store(kept, key) for key in OF_STORE),
        *(_of_file(settings, kept, key) for key in of_domains),
    ]


def _of_file(settings: Settings, kept: Mapping[str, Json], key: str) -> Setting:
    section, name = base(key).split(".")
    part = getattr(settings, section)
    value = kept.get(key, _plain(getattr(part, name)))
    source = "store" if key in kept else "file"
    return Setting(key, value, source, type(part).model_fields[name].description or "")


def _of_store(kept: Mapping[str, Json], key: str) -> Setting:
    own = OF_STORE[key]
    source = "store" if key in kept else "default"
    return Setting(key, kept.get(key, own.default), source, own.help)


def of_file(settings: Settings, key: str) -> Setting | None:
    """Return a setting that only the file can change; None if there is no such key."""
    field = _file_field(settings, key)
    if base(key) in EDITABLE or field is None:
        return None
    return Setting(key, _shown(settings, key, field), "file", field.description or "")


def require_editable(settings: Settings, key: str) -> None:
    """Pass a key that the store may hold.

    Raises:
        InvalidInput: It is not one; says whether the settings file has it.
    """
    if key in EDITABLE:
        return
    of_all = base(key)
    if of_all in KEYS:
        domain = key.removeprefix(f"{of_all}.")
        if is_domain(domain) and "." in domain:
            return
        problem = f"{key} does not end in a domain in small ASCII letters"
        raise InvalidInput(problem, f"write it like {of_all}.acme.com")
    known = ", ".join(EDITABLE)
    if _file_field(settings, key) is None:
        raise InvalidInput(f"{key} is no setting of the store", f"known: {known}")
    problem = f"{key} needs a restart: write it into the settings file"
    raise InvalidInput(problem, f"without one: {known}")


def read_value(settings: Settings, key: str, text: str) -> Json:
    """Return the typed value of an editable key, in the form that JSON holds.

    It is checked as the same key in the file is.

    Raises:
        InvalidInput: The value does not fit; names what does.
    """
    require_editable(settings, key)
    if own := OF_STORE.get(key):
        word = text.strip().lower()
        if word not in own.values:
            hint = f"write one of {', '.join(own.values)}"
            raise InvalidInput(f"{key} = {text!r} does not fit", hint)
        if key == WHO_DECIDES and (missing := lack(settings, WhoDecides(word))):
            raise InvalidInput(f"{key} = {word} cannot work yet", missing)
        return own.values[word]
    section, name = base(key).split(".")
    model = type(getattr(settings, section))
    field = model.model_fields[name]
    is_list = get_origin(field.annotation) is tuple
    try:
        made = (
            model.model_validate({name: _split(text)})
            if is_list
            else model.model_validate_strings({name: text})
        )
    except ValueError as error:  # pydantic's own error is one
        raise InvalidInput(
            f"{key} = {text!r} does not fit", _hint(field, error)
        ) from None
    return made.model_dump(mode="json")[name]


def typed_value(settings: Settings, key: str, value: Json) -> Json:
    """Return a value as the settings file has it, in the form that JSON holds.

    Args:
        settings: They say which keys there are.
        key: One of `OF_FILE`.
        value: As TOML or JSON gives it.

    Raises:
        InvalidInput: It does not fit; names what does.
    """
    section, name = key.split(".")
    model = type(getattr(settings, section))
    try:
        made = model.model_validate({name: value})
    except ValueError as error:  # pydantic's own error is one
        shown = json.dumps(value, default=str)
        hint = _hint(model.model_fields[name], error)
        raise InvalidInput(f"{key} = {shown} does not fit", hint) from None
    return made.model_dump(mode="json")[name]


def asks_org(key: str, value: Json) -> bool:
    """Say whether a value is to be checked in Salesforce before it is saved."""
    return key in CHECKS and bool(value)


async def check_in_org(org: Org, key: str, value: Json) -> None:
    """Pass a value, as `read_value` returned it, that fits the org.

    Raises:
        InvalidInput: It does not; says what is wrong.
        RelayError: Salesforce could not be asked, so that nothing is known.
    """
    if problem := await problem_of(org, key, value):
        shown = value if isinstance(value, str) else json.dumps(value)
        raise InvalidInput(f"{key} = {shown} does not fit the org: {problem}")


def _split(text: str) -> tuple[str, ...]:
    """Read a list as the environment gives one: separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _hint(field: Any, error: Any) -> str:
    """Say what would fit: the choices, or the hint of the check that failed."""
    if get_origin(field.annotation) is Literal:
        choices = ", ".join(str(one) for one in get_args(field.annotation))
        return f"write one of {choices}"
    for problem in error.errors():
        context = problem.get("ctx") or {}
        if "hint" in context:
            return f"{problem.get('input')} {context['problem']}; {context['hint']}"
    from relay.config.load import problem_and_hint  # noqa: PLC0415 - 0.2 s

    first = error.errors()[0]
    return "it {}; {}".format(*problem_and_hint(first, first.get("ctx") or {}))


def base(key: str) -> str:
    """Return a key without the domain that it may hold for alone."""
    return ".".join(key.split(".")[:2])


def _file_field(settings: Settings, key: str) -> Any:
    section, _, name = key.partition(".")
    model = type(getattr(settings, section, None))
    fields: dict[str, Any] = getattr(model, "model_fields", {})
    return fields.get(name)


def _shown(settings: Settings, key: str, field: Any) -> Json:
    from relay.config.sources import is_secret  # noqa: PLC0415 - pydantic, 0.2 s
    from relay.config.values import masked_url  # noqa: PLC0415

    section, _, name = key.partition(".")
    value: Any = getattr(getattr(settings, section), name)
    if is_secret(field) and value is not None:
        return masked_url(value) if isinstance(value, str) else "***"
    return _plain(value)


def _plain(value: Any) -> Json:
    if value is None or isinstance(value, str | int | float | dict):
        return value
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "model_dump"):  # one table of a list
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    return str(value)
