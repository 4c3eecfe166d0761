"""The relay's users: is there anybody who may log, and does the org know each one?

The mail of a user waits until the org has one active Salesforce user for them.
"""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Final

from relay.core.addresses import address_key
from relay.core.authentication import Policy
from relay.core.errors import ConfigError, RelayError
from relay.core.free_mail import is_free_mail
from relay.core.log_by import LogBy, way_of, who_decides
from relay.diagnose.activation import org_switch
from relay.diagnose.finding import Finding, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.config import Settings
    from relay.core.directory import User
    from relay.core.model import Json
    from relay.diagnose.machine import StoreAccess
    from relay.salesforce import Org, SalesforceUser

_CHECK: Final = "owners"
_NAMED: Final = 10
"""Users or addresses named in one line; the others are counted."""


async def switch(access: StoreAccess) -> list[Finding]:
    """Say whether relay addresses accept mail at all (R12, R14)."""
    try:
        store = access.require()
        if store is None:
            return []
        found = await org_switch(store)
    except (RelayError, ConfigError):
        return []
    if found.is_on:
        return [ok("logging", "on")]
    return [fail("logging", found.text, found.hint)]


async def active(access: StoreAccess) -> list[Finding]:
    """Count the users who may log; nothing where the store cannot be read."""
    try:
        store = access.require()
        users = (
            [user for user in await store.directory.users() if user.active]
            if store
            else []
        )
    except (RelayError, ConfigError):
        return []
    if users:
        return [ok("users", f"{len(users)} active")]
    hint = "relay user add NAME --email ADDRESS"
    return [warn("users", "no user may log yet", hint)]


async def ways(settings: Settings, access: StoreAccess) -> list[Finding]:
    """Say by which way mail goes, and what users who log by BCC lack."""
    area = "ways to Salesforce"
    try:
        store = access.require()
        if store is None:
            return []
        directory = await store.directory.load()
    except (RelayError, ConfigError):
        return []
    active = [user for user in directory.users.values() if user.active]
    by_bcc = [user for user in active if way_of(directory, user) is LogBy.BCC]
    text = f"{who_decides(directory)}: {len(active) - len(by_bcc)} by api, "
    text += f"{len(by_bcc)} by bcc"
    if by_bcc and settings.notices.smarthost is None:
        hint = "set notices.smarthost: copies go through it"
        return [fail(area, f"{text}, and there is no smarthost", hint)]
    bare = [user.email for user in by_bcc if not user.salesforce_address]
    if bare:
        text += f"; without an address of Email to Salesforce: {_listed(bare)}"
        hint = f"relay user logging {bare[0]} --address ADDRESS"
        return [warn(area, text, hint)]
    return [ok(area, text)]


async def policy(settings: Settings, access: StoreAccess) -> list[Finding]:
    """Say what proves a sender, and name what is looser than it need be."""
    try:
        store = access.require()
        if store is None:
            return []
        kept = await store.directory.settings()
    except (RelayError, ConfigError):
        return []
    return [judged_policy(settings.sender.policy, kept)]


def judged_policy(of_file: str, kept: Mapping[str, Json]) -> Finding:
    """Judge the policy in force: `listed` takes whatever From anybody writes."""
    key = "sender.policy"
    value = str(kept.get(key, of_file))
    loose = [
        name.removeprefix(f"{key}.")
        for name, one in sorted(kept.items())
        if name.startswith(f"{key}.") and one == Policy.LISTED
    ]
    if value == Policy.LISTED:
        return warn(
            "sender policy",
            "listed: who knows a relay address can write in the name of its user",
            f"relay settings set {key} {Policy.ALIGNED} --monitor-only; a week later "
            f"relay sender report, then relay settings set {key} {Policy.ALIGNED}",
        )
    if loose:
        return warn(
            "sender policy",
            f"{value}, but listed for {_listed(loose)}: anybody can write in "
            "their name",
            f"relay settings unset {key}.{loose[0]}",
        )
    return ok("sender policy", value)


async def addresses(access: StoreAccess) -> list[Finding]:
    """Name the addresses that an older relay may have kept in another spelling."""
    try:
        store = access.require()
        if store is None:
            return []
        emails = {user.id: user.email for user in await store.directory.users()}
        senders = [
            (
                emails[one.user_id],
                one.address,
                "" if one.in_force else " (may not send)",
            )
            for one in await store.directory.addresses()
            if not one.confirmed
        ]
        left_out = [
            (emails.get(one.user_id or 0, ""), one.pattern)
            for one in await store.directory.exclusions()
            if not one.confirmed
        ]
    except (RelayError, ConfigError):
        return []
    findings: list[Finding] = []
    if senders:
        user, address, _ = senders[0]
        named = _listed(
            [f"{address} for {user}{stop}" for user, address, stop in senders]
        )
        findings.append(
            warn(
                "addresses",
                f"kept before straße and strasse were two domains, perhaps in a wrong "
                f"spelling: {named}",
                f"if it is written as meant: relay address add {user} {quote(address)}"
                f"; else relay address remove {user} {quote(address)}, then add yours",
            )
        )
    if left_out:
        user, pattern = left_out[0]
        only = f" --user {user}" if user else ""
        findings.append(
            warn(
                "exclusions",
                f"kept before straße and strasse were two domains, and in force as "
                f"written: {_listed([pattern for _, pattern in left_out])}",
                f"if it is written as meant: relay exclude add {quote(pattern)}{only} "
                f"(--skip as it was); else relay exclude remove, then add yours",
            )
        )
    return findings


async def patterns(access: StoreAccess) -> list[Finding]:
    """Name accepted addresses that let strangers in, or nobody, whatever was meant."""
    try:
        store = access.require()
        if store is None:
            return []
        directory = await store.directory.load()
    except (RelayError, ConfigError):
        return []
    findings = []
    for user in directory.users.values():
        if user.removed_at:
            continue
        if "*" in user.email:
            findings.append(
                warn(
                    "addresses",
                    f"{user.email} is the address of {user.name}; it stands for a "
                    "whole domain, all of which may send",
                    f"relay user set-email {quote(user.email)} ADDRESS",
                )
            )
        findings += [
            warn(
                "addresses",
                f"{address} may send for {user.email}: {problem}",
                f"relay address remove {quote(user.email)} {quote(address)}",
            )
            for address in sorted(directory.accepted.get(user.id, ()))
            if (problem := _doubtful(address))
        ]
    return findings


def _doubtful(address: str) -> str:
    """Say what is wrong with an accepted address; empty for nothing."""
    if address.startswith("*@"):
        free = is_free_mail(address[2:])
        return "anybody may open a mailbox there" if free else ""
    return "the asterisk is taken literally" if "*" in address else ""


async def owners(access: StoreAccess, org: Org) -> list[Finding]:
    """Look for the Salesforce user of everybody who has no id of one yet."""
    try:
        store = access.require()
        if store is None:
            return []
        users = [user for user in await store.directory.users() if user.active]
        unset = [user for user in users if not user.salesforce_id]
        emails = [address_key(user.email) or user.email for user in unset]
        found = (await org.lookup.find([], user_emails=emails)).users if emails else ()
    except (RelayError, ConfigError) as error:
        hint = "see the lines above; then relay check again"
        return [warn(_CHECK, f"cannot be looked up: {error}", hint)]
    return [judged(users, found)] if users else []


def judged(users: Sequence[User], found: Sequence[SalesforceUser]) -> Finding:
    """Name the users for whom the org has no single active user."""
    lost = [
        user.email
        for user in users
        if not user.salesforce_id and not _is_one(user, found)
    ]
    if not lost:
        return ok(_CHECK, "every active user is a Salesforce user")
    return warn(
        _CHECK,
        f"no single active Salesforce user has the e-mail of {_listed(lost)}; "
        "their mail waits",
        f"relay user set {lost[0]} --salesforce-id ID",
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _is_one(user: User, found: Sequence[SalesforceUser]) -> bool:
    key = address_key(user.email)
    return sum(one.email_key == key and one.is_active for one in found) == 1
