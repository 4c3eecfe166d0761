"""Who decides how mail reaches Salesforce, what it is logged on, and what that costs.

An admin sets it for the whole team, or leaves the way to each user; a user sees what is
fixed, and by whom. Each choice says beforehand how many API calls a day it costs.

The calls are estimated: mail of the last seven days, by day, times the calls that a
mail took in the last 24 hours. Where fewer than `FEW` mails came in these, a mail is
taken to need `CALLS_ALONE` calls: one that looks people up and one that writes, as a
mail does that comes alone. A copy to Email to Salesforce needs none.

Source: rules R1, R2, R5 to R14, D10, D25.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from relay.admin.inputs import email_address
from relay.admin.log_by import lack
from relay.core.addresses import address_key, domain_key, domain_of
from relay.core.directory import ORG_SWITCH
from relay.core.errors import Conflict, InvalidInput
from relay.core.log_by import (
    WHO_DECIDES,
    LogBy,
    WhoDecides,
    way_of,
    who_decides,
)
from relay.core.translate import N_
from relay.diagnose.activation import Step
from relay.match import with_stored

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from relay.config import Settings
    from relay.core.directory import Directory, User
    from relay.core.model import Json
    from relay.store import Store

DAYS: Final = 7
"""Days of mail that an estimate goes by."""
FEW: Final = 20
CALLS_ALONE: Final = 2.0


# ---------------------------------------------------------------- estimates


@dataclass(frozen=True, slots=True)
class Estimate:
    """The API calls of a day, and how they were reckoned.

    Attributes:
        calls: A day, rounded up.
        mails: A day, of the last `DAYS` days.
        per_mail: Calls that a mail takes.
        measured: `per_mail` was measured in the last 24 hours.
        used: What all relays used in the last 24 hours.
        limit: What the org may use in 24 hours; None: not reported yet.
    """

    calls: int
    mails: float
    per_mail: float
    measured: bool
    used: int = 0
    limit: int | None = None

    @property
    def how(self) -> str:
        """Return a sentence that says how it was reckoned."""
        basis = (
            f"{self.per_mail:.1f} calls a mail, as in the last 24 hours"
            if self.measured
            else f"{self.per_mail:.1f} calls a mail, as if each came alone"
        )
        return f"{self.mails:.0f} mails a day in the last {DAYS} days, {basis}"

    def as_json(self) -> dict[str, Json]:
        """Return the stable names."""
        return {
            "calls_a_day": self.calls,
            "mails_a_day": round(self.mails, 1),
            "calls_a_mail": round(self.per_mail, 2),
            "measured": self.measured,
            "used_24h": self.used,
            "limit_24h": self.limit,
            "how": self.how,
        }


@dataclass(frozen=True, slots=True)
class _Traffic:
    """What estimates go by."""

    by_user: Mapping[int, int]
    last_day: int
    used: int
    limit: int | None

    def estimate(self, mails: int, way: LogBy) -> Estimate:
        measured = self.last_day >= FEW
        per_mail = self.used / self.last_day if measured else CALLS_ALONE
        per_day = mails / DAYS
        calls = 0 if way is LogBy.BCC else _up(per_day * per_mail)
        per_mail = 0.0 if way is LogBy.BCC else per_mail
        return Estimate(calls, per_day, per_mail, measured, self.used, self.limit)


def _up(value: float) -> int:
    return int(value) + (value > int(value))


async def _traffic(store: Store, now: datetime) -> _Traffic:
    week = await store.log.received(now - timedelta(days=DAYS))
    day = await store.log.received(now - timedelta(days=1))
    usage = await store.usage.get()
    limit = usage.readings[-1].limit if usage.readings else None
    return _Traffic(week, sum(day.values()), sum(usage.calls.values()), limit)


# ---------------------------------------------------------------- the team


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the choices for the whole team.

    Attributes:
        word: As the setting holds it.
        text: What it means, in a sentence.
        estimate: What it costs.
        missing: What must be there first; empty: it can be chosen.
    """

    word: WhoDecides
    text: str
    estimate: Estimate
    missing: tuple[Step, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """Return the stable names."""
        return {
            "word": str(self.word),
            "text": self.text,
            "estimate": self.estimate.as_json(),
            "missing": [one.as_json() for one in self.missing],
        }


@dataclass(frozen=True, slots=True)
class Team:
    """How the mail of the team reaches Salesforce.

    Attributes:
        decides: Who decides.
        by: Who has set that; empty: nobody, it is the default.
        at: When.
        choices: What may be chosen, each with its cost.
        on: What a mail is logged on: values of `[match]`, by name.
        kinds: Which kinds are logged.
        users: How many active users go which way.
    """

    decides: WhoDecides
    by: str
    at: datetime | None
    choices: tuple[Choice, ...]
    on: Mapping[str, Json]
    kinds: tuple[str, ...]
    users: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the stable names."""
        return {
            "decides": str(self.decides),
            "set_by": self.by or None,
            "set_at": self.at,
            "choices": [one.as_json() for one in self.choices],
            "logged_on": dict(self.on),
            "kinds": list(self.kinds),
            "users": dict(self.users),
        }


_TEXTS: Final = {
    WhoDecides.EACH_USER: N_(
        "each user chooses: Salesforce's API, or Email to Salesforce"
    ),
    WhoDecides.API_ONLY: N_("everybody's mail is logged by Salesforce's API"),
    WhoDecides.BCC_ONLY: N_("everybody's mail is copied to Email to Salesforce"),
}


async def team(store: Store, settings: Settings, now: datetime) -> Team:
    """Return how the mail of the team reaches Salesforce, and the choices there are."""
    directory = settings.directory(await store.directory.load())
    changed = await store.directory.setting_changed(WHO_DECIDES)
    traffic = await _traffic(store, now)
    match = with_stored(settings.match, directory)
    active = [user for user in directory.users.values() if user.active]
    ways = [way_of(directory, user) for user in active]
    return Team(
        decides=who_decides(directory),
        by=changed[1] if changed else "",
        at=changed[0] if changed else None,
        choices=tuple(
            Choice(
                word,
                _TEXTS[word],
                _of_team(traffic, directory, word),
                missing_for(settings, word),
            )
            for word in WhoDecides
        ),
        on=logged_on(match.model_dump(mode="json")),
        kinds=tuple(match.kinds),
        users={way.value: ways.count(way) for way in LogBy},
    )


def _of_team(traffic: _Traffic, directory: Directory, word: WhoDecides) -> Estimate:
    if word is WhoDecides.BCC_ONLY:
        return traffic.estimate(sum(traffic.by_user.values()), LogBy.BCC)
    counted = [
        count
        for user_id, count in traffic.by_user.items()
        if word is WhoDecides.API_ONLY
        or (user := directory.users.get(user_id)) is None
        or user.log_by != LogBy.BCC
    ]
    return traffic.estimate(sum(counted), LogBy.API)


def logged_on(match: Mapping[str, Any]) -> dict[str, Json]:
    """Return what of `[match]` says on which records a mail is logged (D25, D26)."""
    opportunities = match["opportunities"]
    if match["account_opportunities"] and opportunities != "none":
        opportunities = f"{opportunities}, of the account too"
    return {
        "contact": "contact" in match["objects"],
        "lead": "lead" in match["objects"],
        "account": bool(match["accounts"]),
        "opportunities": opportunities,
    }


def missing_for(settings: Settings, word: WhoDecides) -> tuple[Step, ...]:
    """Return what must be there before a choice can work (R1, R2)."""
    missing = lack(settings, word)
    return (Step("R1", "admin", missing, "relay check"),) if missing else ()


async def choose_for_team(
    store: Store, settings: Settings, word: str, actor: str
) -> WhoDecides:
    """Decide for the whole team; a running relay goes by it within a second.

    Raises:
        InvalidInput: There is no such choice.
        Conflict: Something must be there first; the text names it.
    """
    known = [one.value for one in WhoDecides]
    if word not in known:
        raise InvalidInput(f"{word!r} is no choice", f"write one of {', '.join(known)}")
    chosen = WhoDecides(word)
    if missing := missing_for(settings, chosen):
        raise Conflict(missing[0].text)
    await store.directory.set_setting(WHO_DECIDES, chosen.value, actor)
    return chosen


# ---------------------------------------------------------------- one user


@dataclass(frozen=True, slots=True)
class Own:
    """How the mail of one user reaches Salesforce.

    Attributes:
        user: Whose.
        way: In force.
        fixed: An admin has decided for everybody.
        fixed_by: Who; empty where nobody has.
        fixed_at: When.
        chosen: What the user has chosen; None: nothing.
        address: Of Email to Salesforce.
        estimates: What each way costs.
        steps: What is missing before a copy goes out, in their order.
        api_missing: What is missing before the API can be used.
    """

    user: User
    way: LogBy
    fixed: bool
    fixed_by: str
    fixed_at: datetime | None
    chosen: str | None
    address: str | None
    estimates: Mapping[LogBy, Estimate]
    steps: tuple[Step, ...]
    api_missing: tuple[Step, ...]

    def as_json(self, *, shown: bool = True) -> dict[str, Any]:
        """Return the stable names; without `shown` the address is left out."""
        return {
            "user": self.user.email,
            "way": str(self.way),
            "fixed": self.fixed,
            "fixed_by": self.fixed_by or None,
            "fixed_at": self.fixed_at,
            "chosen": self.chosen,
            "salesforce_address": self.address if shown else None,
            "has_address": self.address is not None,
            "estimates": {
                way.value: one.as_json() for way, one in self.estimates.items()
            },
            "missing": [one.as_json() for one in self.steps],
        }


async def own(store: Store, settings: Settings, user: User, now: datetime) -> Own:
    """Return how a user's mail reaches Salesforce, and what may be chosen."""
    directory = settings.directory(await store.directory.load())
    user = directory.users.get(user.id, user)
    decides = who_decides(directory)
    changed = await store.directory.setting_changed(WHO_DECIDES)
    fixed = decides is not WhoDecides.EACH_USER
    traffic = await _traffic(store, now)
    mails = traffic.by_user.get(user.id, 0)
    return Own(
        user=user,
        way=way_of(directory, user),
        fixed=fixed,
        fixed_by=changed[1] if changed and fixed else "",
        fixed_at=changed[0] if changed and fixed else None,
        chosen=user.log_by,
        address=user.salesforce_address,
        estimates={way: traffic.estimate(mails, way) for way in LogBy},
        steps=tuple(guidance(settings, directory, user)),
        api_missing=missing_for(settings, WhoDecides.API_ONLY),
    )


def guidance(settings: Settings, directory: Directory, user: User) -> list[Step]:
    """Return what is missing before copies of a user's mail can go out.

    The address cannot be read from Salesforce, so that the user is led to it (R9).
    """
    steps: list[Step] = []
    if directory.settings.get(ORG_SWITCH) is False:
        text = N_(
            "Logging is switched off for everybody: no relay address accepts mail."
        )
        steps.append(Step("R14", "admin", text, "relay activate"))
    steps += missing_for(settings, WhoDecides.BCC_ONLY)
    if user.salesforce_address:
        return steps
    command = f"relay user logging {user.email} --address ADDRESS"
    for rule, by, text in (
        (
            "R10",
            "user",
            N_(
                "Sign in to Salesforce; your name at the top right, My Settings, "
                "Email, My Email to Salesforce. Copy the Email to Salesforce Address "
                "from there into the field here."
            ),
        ),
        (
            "R11",
            "user",
            N_(
                "If there is no address on that page: enter the addresses from which "
                "you write to customers under My Acceptable Email Addresses, choose "
                "Save Changes, and look again."
            ),
        ),
        (
            "R12",
            "user",
            N_(
                "If there is no such page: the feature has not been enabled in "
                "Salesforce, as in a new team. Ask your Salesforce administrator."
            ),
        ),
        (
            "R13",
            "admin",
            N_(
                "To enable it: Setup, Email Administration, Email to Salesforce, "
                "Edit, tick Active, Save. Until then no address there takes mail."
            ),
        ),
    ):
        steps.append(Step(rule, by, text, command))
    return steps


async def choose(
    store: Store,
    settings: Settings,
    user: User,
    *,
    way: str | None,
    address: str | None,
    actor: str,
) -> User:
    """Choose for one user; both are as given from then on.

    Args:
        store: The open store.
        settings: The file and the environment.
        user: For whom.
        way: `api` or `bcc`; None or empty: not chosen.
        address: Of Email to Salesforce; None or empty: none.
        actor: Who chooses.

    Raises:
        InvalidInput: There is no such way, or the address is none, or the relay's own.
        Conflict: An admin has decided for everybody, and this way is another.
    """
    way, address = way or None, (address or "").strip() or None
    if way not in {None, *(one.value for one in LogBy)}:
        raise InvalidInput(f"{way!r} is no way", "write api, bcc or default")
    if address is not None:
        address = _address(settings, address)
    if way is not None and way != user.log_by:
        directory = settings.directory(await store.directory.load())
        decides = who_decides(directory)
        if decides is not WhoDecides.EACH_USER:
            changed = await store.directory.setting_changed(WHO_DECIDES)
            by = f" by {changed[1]}" if changed else ""
            text = f"it is decided for everybody{by}: {_TEXTS[decides]}"
            raise Conflict(text)
        wanted = WhoDecides.API_ONLY if way == LogBy.API else WhoDecides.BCC_ONLY
        if missing := missing_for(settings, wanted):
            raise Conflict(missing[0].text)
    return await store.directory.set_log_by(user.id, way, address, actor)


def _address(settings: Settings, text: str) -> str:
    """Return an address to which copies may go: neither the relay's nor a colleague's.

    Raises:
        InvalidInput: It is none.
    """
    address = email_address(text)
    domain = domain_of(address_key(address) or "")
    if domain in {domain_key(one) for one in settings.smtp.domains}:
        problem = f"{address} is an address of the relay: copies would come back"
        raise InvalidInput(problem, "copy it from My Email to Salesforce")
    return address
