"""Plans notices: which user gets which notice of which event, and the daily digest.

One process of all relays plans at a time, by a lease. It reads the journal from where
it was read last: attempts that ended, refusals, held messages. A notice goes to the
user's own address and to nobody else, whatever a mail says of its sender.

A refusal is told only if the mail names the user as its author: with an accepted
address in From, or an address in the domain of the user's own. What a customer sends
who replied to all is no news. Nobody is told of automatic mail, so that a notice that
comes back cannot make another one (RFC 3834 section 2).
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from relay.core.addresses import address_key, covers, domain_of
from relay.core.notices import (
    PROBLEMS,
    NoticeDraft,
    NoticeItem,
    NoticeKind,
    NoticeLevel,
)
from relay.mail import mailboxes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from relay.config import NoticesSettings
    from relay.core.clock import Clock
    from relay.core.directory import Directory, User
    from relay.core.model import Json
    from relay.core.notices import NoticeEvent
    from relay.core.queue import LeaseOwner
    from relay.store import Store

LEASE: Final = "notices"
LEASE_S: Final = 60.0
OLDEST: Final = timedelta(days=1)
"""What happened before that is no news: the relay was stopped, or had no smarthost."""
DAY: Final = timedelta(days=1)
REMEMBER: Final = timedelta(seconds=30)
"""How often the place in the journal is written down while nothing happens."""
MANY: Final = 100
"""After so many attempts the planner writes its place down, even without a notice."""
TOLD: Final = 5000
"""Events that are remembered in memory: the journal is read from a little before."""
DIGESTS_S: Final = 30.0
"""How often it is looked at whether the hour of a digest has come."""
_QUIET: Final = frozenset({"logging_off", "unknown_recipient", "user_too_fast"})
"""Reasons of refusals that no user can do anything about."""
_WORTH_A_DIGEST: Final = frozenset({"logged", "unmatched", "held", "dead", "refused"})


class Planner:
    """Plans the notices of all users."""

    def __init__(
        self,
        settings: NoticesSettings,
        store: Store,
        clock: Clock,
        owner: LeaseOwner,
        *,
        directory: Callable[[], Directory],
    ) -> None:
        """Keep the parts; nothing is read yet."""
        self._settings = settings
        self._store = store
        self._clock = clock
        self._owner = owner
        self._directory = directory
        self._lease_until_s = float("-inf")
        self._told: dict[str, None] = {}
        self._digests_at_s = float("-inf")
        self._digested: dict[int, str] = {}

    async def turn(self) -> int:
        """Plan what is new; return how many events it was.

        Another process that plans at present is left alone.

        Raises:
            StoreUnavailable: The next turn begins where this one did.
        """
        if not await self._leads():
            return 0
        seen = await self._store.notices.cursor()
        if seen is None:
            # Whoever begins with notices is not told of the past.
            seen = await self._store.notices.end()
            await self._store.notices.plan((), seen, gather_s=0, interval_s=0)
        seen = replace(seen, at=max(seen.at, self._clock.now() - OLDEST))
        directory = self._directory()
        everything = {
            user.id
            for user in directory.users.values()
            if self.level(user, directory) is NoticeLevel.ALL
        }
        events, upto = await self._store.notices.happened(seen, logged=everything)
        oldest = self._clock.now() - OLDEST
        # Some events come again: the store knows them too, at the price of a commit.
        fresh = [
            event
            for event in events
            if event.item.at >= oldest and event.item.key not in self._told
        ]
        drafts = list(self._drafts(fresh, directory))
        new = 0
        if (
            drafts
            or upto.at - seen.at >= REMEMBER
            or upto.attempt - seen.attempt > MANY
            # The journal holds more than one turn reads: the planner goes on behind
            # events that give no notice, too.
            or (self._clock.now() - upto.at >= REMEMBER and upto.at > seen.at)
        ):
            new = await self._store.notices.plan(
                drafts,
                upto,
                gather_s=self._settings.gather_s,
                interval_s=self._settings.interval_s,
            )
        self._told |= dict.fromkeys(event.item.key for event in fresh)
        for key in list(self._told)[: max(0, len(self._told) - TOLD)]:
            del self._told[key]
        await self._digests(directory)
        return new

    async def _leads(self) -> bool:
        """Take the lease, or prolong it in good time; False: another process plans."""
        now_s = self._clock.boottime_s()
        if now_s < self._lease_until_s - LEASE_S / 2:
            return True
        if not await self._store.leases.take(LEASE, self._owner, LEASE_S):
            self._lease_until_s = float("-inf")
            return False
        self._lease_until_s = now_s + LEASE_S
        return True

    def level(self, user: User, directory: Directory) -> NoticeLevel:
        """Return which notices a user gets: the user's own choice, or that of all."""
        common = directory.settings.get("notices.level") or self._settings.level
        return NoticeLevel(user.notify or common)

    # ------------------------------------------------------------ events

    def _drafts(
        self, events: Iterable[NoticeEvent], directory: Directory
    ) -> Iterable[NoticeDraft]:
        grouped: dict[tuple[int, NoticeKind], list[NoticeItem]] = defaultdict(list)
        for event in events:
            user = directory.users.get(event.user_id)
            if user is not None and self._concerns(event, user, directory):
                grouped[event.user_id, event.kind].append(event.item)
        for (user_id, kind), items in grouped.items():
            user = directory.users[user_id]
            yield NoticeDraft(kind, user.email, tuple(items), user_id)

    def _concerns(self, event: NoticeEvent, user: User, directory: Directory) -> bool:
        """Say whether a user is told of an event."""
        level = self.level(user, directory)
        if user.removed_at or level is NoticeLevel.NONE:
            return False
        if event.kind not in PROBLEMS and level is not NoticeLevel.ALL:
            return False
        if event.kind is not NoticeKind.REFUSED:
            return True
        facts = event.item.facts
        if facts.get("reason") in _QUIET or not facts.get("mail_from"):
            return False
        return self._names(str(facts.get("from") or ""), user, directory)

    def _names(self, header_from: str, user: User, directory: Directory) -> bool:
        """Say whether a refused mail names this user as its author."""
        boxes = mailboxes([header_from.encode("utf-8", "replace")])
        keys = {key for box in boxes if (key := address_key(box.address))}
        if not keys or address_key(self._settings.from_address or "") in keys:
            return False
        accepted = directory.accepted.get(user.id, frozenset())
        own = domain_of(address_key(user.email) or "")
        return any(
            domain_of(key) == own or any(covers(pattern, key) for pattern in accepted)
            for key in keys
        )

    # ------------------------------------------------------------ digests

    async def _digests(self, directory: Directory) -> None:
        """Plan the digest of each user whose hour has come today."""
        now, now_s = self._clock.now(), self._clock.boottime_s()
        if not self._settings.digest or now_s - self._digests_at_s < DIGESTS_S:
            return
        self._digests_at_s = now_s
        for user in directory.users.values():
            level = self.level(user, directory)
            if not user.active or level is NoticeLevel.NONE:
                continue
            local = now.astimezone(zone_of(user, self._settings))
            if local.hour < self._settings.digest_hour:
                continue
            key = f"digest-{user.id}-{local:%Y%m%d}"
            if self._digested.get(user.id) == key:
                continue
            if await self._store.shared.get(_planned(user)) == key:
                self._digested[user.id] = key
                continue
            counts = await self._store.notices.digest(user.id, now - DAY)
            telling = (
                _WORTH_A_DIGEST
                if level is NoticeLevel.ALL
                else {*_WORTH_A_DIGEST} - {"logged"}
            )
            if telling & counts.keys():
                facts = {"counts": counts, "day": f"{local:%Y-%m-%d}"}
                draft = NoticeDraft(
                    NoticeKind.DIGEST, user.email, user_id=user.id, facts=facts
                )
                await self._store.notices.add(key, draft)
            # The notice has the day in its key: a crash here plans no second one.
            await self._store.shared.set(_planned(user), key)
            self._digested[user.id] = key


def _planned(user: User) -> str:
    return f"notices.digest.{user.id}"


def zone_of(user: User | None, settings: NoticesSettings) -> ZoneInfo:
    """Return the time zone of a user, or that of the settings."""
    if user is not None and user.time_zone:
        try:
            return ZoneInfo(user.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass  # Salesforce may know a zone that this machine does not.
    return ZoneInfo(settings.time_zone)


def sign_in_link(
    settings: NoticesSettings, user: User, url: str, ends: datetime, *, invites: bool
) -> NoticeDraft:
    """Return the notice with a link by which a user sets a password.

    The link stands in the store until the mail is out.

    Args:
        settings: They have the time zone.
        user: Whose link it is, and who gets the mail.
        url: The link.
        ends: Until when it works.
        invites: An administrator invites; else the user asked for the link.
    """
    zone = zone_of(user, settings)
    facts: dict[str, Json] = {
        "user": user.email,
        "url": url,
        "until": f"{ends.astimezone(zone):%Y-%m-%d %H:%M} ({zone.key})",
    }
    if invites:
        facts["name"] = user.name
    return NoticeDraft(
        NoticeKind.SIGN_IN_LINK, user.email, user_id=user.id, facts=facts
    )


class ClaimNotices:
    """Sends the codes by which a user proves an address; for whoever handles claims."""

    def __init__(self, settings: NoticesSettings, store: Store) -> None:
        """Keep the parts."""
        self._settings = settings
        self._store = store

    @property
    def possible(self) -> bool:
        """Say whether the relay can send mail at all."""
        return self._settings.smarthost is not None

    async def code(
        self, claim: str, user: User, address: str, code: str, expires_at: datetime
    ) -> None:
        """Plan the mail with a code, to the address that is claimed.

        Args:
            claim: Names the claim: its code is mailed once.
            user: Who claims.
            address: What is claimed.
            code: The code; it is removed from the store once the mail is out.
            expires_at: When the code ends.

        Raises:
            StoreUnavailable: Nothing is planned.
        """
        zone = zone_of(user, self._settings)
        facts = {
            "user": f"{user.name} <{user.email}>",
            "code": code,
            "until": f"{expires_at.astimezone(zone):%Y-%m-%d %H:%M} ({zone.key})",
        }
        draft = NoticeDraft(
            NoticeKind.CLAIM_CODE, address, user_id=user.id, facts=facts
        )
        await self._store.notices.add(f"claim-{claim}", draft)

    async def done(self, user: User, address: str) -> None:
        """Plan the mail that says to the user that an address was added.

        Raises:
            StoreUnavailable: Nothing is planned.
        """
        facts = {"user": f"{user.name} <{user.email}>", "address": address}
        draft = NoticeDraft(
            NoticeKind.CLAIM_DONE, user.email, user_id=user.id, facts=facts
        )
        await self._store.notices.add(f"claimed-{secrets.token_hex(8)}", draft)
