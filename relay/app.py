"""The composition root: builds the parts from settings, starts and drains them.

The only place that wires. `App` is one relay process: with the role `smtp` it takes
mail in, with the role `worker` it logs it. `relay.serve` runs one in each child.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from relay.admin.settings import check_in_org
from relay.core.addresses import domain_key
from relay.core.clock import SystemClock
from relay.core.directory import record_in, token_of
from relay.core.errors import ConfigError, InvalidInput, OrgPaused, StoreUnavailable
from relay.core.log_by import by_bcc
from relay.core.queue import LeaseOwner
from relay.core.reminders import tag_of
from relay.core.states import State
from relay.diagnose.people import judged_policy
from relay.intake import Intake, Senders
from relay.notices import NoticeService
from relay.outbox.backoff import Backoff
from relay.outbox.engine import Parts
from relay.reminders import ReminderSyncService
from relay.salesforce import Org
from relay.salesforce.dry import DryOrg
from relay.sender.authenticate import Authenticator
from relay.sender.release import ReleaseLinks
from relay.sender.resolver import Resolver, resolver_of
from relay.smtp import SMTPServer
from relay.smtp.listener import Bound
from relay.smtp.replies import replier
from relay.store import Store
from relay.telemetry import get_logger, metrics
from relay.telemetry.health import Health, HealthServer
from relay.upkeep import Alerter, Rematch
from relay.web import ReleasePages, WebServer
from relay.worker import Copies, Worker, WriteMode
from relay.worker import explain as explain_mail
from relay.worker.replay import Replay, ReplayParts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from relay.admin.rule_change import RuleChange
    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.core.directory import Directory, User
    from relay.core.past import PastFilter

ROLES: Final = frozenset({"smtp", "worker"})
_START_TIME: Final = 19
"""Index of `starttime` in /proc/PID/stat, counted after the name (proc(5))."""
REFRESH_S: Final = 0.25
"""How often the directory's revision is read: an edit holds within a second."""
TAKE_BACK_S: Final = 10.0
"""How often leases of dead processes of this host are looked for."""
TIDY_S: Final = 3600.0
"""How often old rows and files are removed."""
INDEX_S: Final = 60.0
"""How often the index of words is brought up to date."""
INDEX_NEXT_S: Final = 0.2
"""Pause while there is more to index: a million messages take some five minutes."""
REPLAY_CACHE_S: Final = 86_400.0
"""How long a re-play remembers what was found under an address: longer than it runs."""

logger = get_logger(__name__)


class App:
    """One relay process.

    Attributes:
        store: The open store, after `start`.
        intake: Accepts mails, or None without a role that takes them.
        smtp: The SMTP side, or None without the role.
        worker: The draining side, or None without the role.
        alerter: Looks whether something is wrong, beside the worker, or None.
        rematch: Looks for records that appeared, beside the worker, or None.
        reminder_sync: Keeps reminders in step with Tasks, beside the worker, or None.
        copies: Sends copies to Email to Salesforce beside the worker, or None.
        notices: Sends notices beside the worker, or None without a smarthost.
        org: The Salesforce org, or None without the role.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        roles: frozenset[str] = ROLES,
        clock: Clock | None = None,
        health: Health | None = None,
        bound: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        """Keep the settings; nothing is opened yet.

        Args:
            settings: The whole configuration.
            roles: What to do.
            clock: None: the machine's.
            health: Takes the probes; None: a listener at `telemetry.listen`.
            bound: Listening sockets that were inherited, by place.
        """
        self.settings = settings
        self.roles = roles
        self.clock: Clock = clock or SystemClock()
        self.owner = lease_owner()
        self._backoff = Backoff(settings.worker, random.Random())  # noqa: S311 - jitter
        self.intake: Intake | None = None
        self.smtp: SMTPServer | None = None
        self.worker: Worker | None = None
        self.notices: NoticeService | None = None
        self.rematch: Rematch | None = None
        self.reminder_sync: ReminderSyncService | None = None
        self.copies: Copies | None = None
        self.alerter: Alerter | None = None
        self.org: Org | None = None
        self.health = health
        self.web: WebServer | None = None
        self._bound = Bound(bound)
        self._resolver: Resolver | None = None
        self._authenticator: Authenticator | None = None
        self._store: Store | None = None
        self._directory: Directory | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def store(self) -> Store:
        """Return the open store.

        Raises:
            RuntimeError: The app has not been started.
        """
        if self._store is None:
            msg = "the app has not been started"
            raise RuntimeError(msg)
        return self._store

    def directory(self) -> Directory:
        """Return everybody and everything an admin edits, at most a second old."""
        if self._directory is None:
            msg = "the app has not been started"
            raise RuntimeError(msg)
        return self._directory

    # ------------------------------------------------------------ start

    async def start(self) -> None:
        """Open the store, take back what a dead predecessor held, start the roles.

        Raises:
            ConfigError: Something is set wrong; whatever was started is stopped again.
            StoreUnavailable: The store cannot be opened.
        """
        try:
            await self._start()
        except BaseException:
            await self.drain()
            raise

    async def _start(self) -> None:
        settings = self.settings
        self._store = await Store.open(settings.store, self.clock, owner=self.owner)
        await self._read_directory(self._store)
        by_api = by_bcc(self.directory()) is not None
        if "worker" in self.roles and by_api:
            settings.require_salesforce()
        self._tasks.append(asyncio.create_task(self._follow_directory()))
        if self.health is None and settings.telemetry.listen:
            self.health = HealthServer(settings.telemetry.listen)
        if self.health:
            self.health.add_probe("store", self._probe_store)
            self.health.add_probe("logging", self._probe_logging, fatal=False)
            if "worker" in self.roles:
                self.health.add_probe("salesforce", self._probe_salesforce, fatal=False)
            await self.health.start()
            self.health.add_refresh(self._update_gauges)
        if "worker" in self.roles:
            await self._take_back()
            self._tasks.append(asyncio.create_task(self._follow_the_dead()))
            self._tasks.append(asyncio.create_task(self._index()))
            self._start_copies()
            await self._start_notices()
        if "worker" in self.roles and settings.salesforce.instance_url is not None:
            self.org = Org(settings.salesforce, self.clock)
            await self.org.start()
            self.worker = Worker(
                settings,
                self._store,
                self.org,
                self.clock,
                owner=self.owner,
                directory=self.directory,
            )
            await self.worker.start(self._alive())
            self.rematch = Rematch(
                settings,
                self._store,
                self.org,
                self.clock,
                self.owner,
                directory=self.directory,
                paused=lambda: self.worker is None or self.worker.pause is not None,
            )
            self.rematch.start()
            self.reminder_sync = self._reminder_sync(self.worker, self.org)
            self.reminder_sync.start()
            self.alerter = Alerter(
                settings,
                self._store,
                self.clock,
                self.owner,
                self._backoff,
                directory=self.directory,
            )
            self.alerter.start()
        if self.roles & {"smtp", "web"}:
            self._tasks.append(asyncio.create_task(self._tidy()))
            self.intake = Intake(
                settings.smtp,
                self._store,
                self.clock,
                directory=self.directory,
                inline_bytes=settings.store.inline_bytes,
                min_free_bytes=settings.store.min_free_bytes,
                reply_line=replier(self.directory),
                senders=self._senders(self._store),
            )
            self._say_policy()
            if "smtp" in self.roles:
                await self._start_smtp(self.intake)
            if "web" in self.roles:
                await self._start_web(self.intake)

    def _reminder_sync(self, worker: Worker, org: Org) -> ReminderSyncService:
        """Return what keeps reminders in step with Tasks."""
        parts = Parts(
            self.settings,
            self.store,
            org,
            self.clock,
            self.owner,
            self._backoff,
        )
        return ReminderSyncService(
            parts,
            directory=self.directory,
            paused=lambda: worker.pause is not None,
            trip=worker.breaker.trip,
        )

    def _senders(self, store: Store) -> Senders:
        """Return what judges senders; it asks DNS when a mail wants that."""
        settings = self.settings
        self._resolver = resolver_of(settings.dns, self.clock)
        self._authenticator = Authenticator(
            self._resolver, self.clock, sealers=settings.sender.arc_sealers
        )
        return Senders(
            settings.sender,
            self.clock,
            settings=lambda: self.directory().settings,
            facts=store.sender,
            authenticator=self._authenticator,
        )

    def _say_policy(self) -> None:
        """Write into the log what proves a sender, with the command for a loose one."""
        finding = judged_policy(self.settings.sender.policy, self.directory().settings)
        if finding.hint:
            logger.warning("sender_policy", found=finding.text, hint=finding.hint)
        else:
            logger.info("sender_policy", policy=finding.text)

    def _start_copies(self) -> None:
        """Copy the mail of users who log by BCC; it needs no Salesforce org."""
        self.copies = Copies(
            self.settings,
            self.store,
            self.clock,
            self.owner,
            self._backoff,
            directory=self.directory,
        )
        self.copies.start()

    async def _start_notices(self) -> None:
        """Send notices, where there is a smarthost for them."""
        settings = self.settings
        if settings.notices.smarthost is None:
            return
        links = await ReleaseLinks.open(settings, self.store, self.clock)
        self.notices = NoticeService(
            settings.notices,
            self.store,
            self.clock,
            self.owner,
            self._backoff,
            directory=self.directory,
            release_url=links.url if links else None,
        )
        self.notices.start()

    async def _start_smtp(self, intake: Intake) -> None:
        self.smtp = SMTPServer(
            self.settings.smtp,
            intake,
            self.store,
            self.clock,
            directory=self.directory,
            bound=self._bound,
        )
        await self.smtp.start()
        if self.health:
            self.health.add_probe("smtp", self._probe_smtp)

    async def _start_web(self, intake: Intake) -> None:
        place = self.settings.web.listen
        if place is None:
            raise ConfigError("web.listen (not set): the role web needs an address")
        bound = self._bound.take(place, key="web.listen")[0]
        links = await ReleaseLinks.open(self.settings, self.store, self.clock)
        pages = ReleasePages(links, self.store, self.directory) if links else None
        self.web = WebServer(
            place,
            self.settings,
            self.store,
            intake,
            self.clock,
            pages=pages.routes() if pages else (),
            bound=bound,
            replaying=functools.partial(replaying, self.settings),
        )
        await self.web.start()

    # ------------------------------------------------------------ stop

    async def drain(self) -> None:
        """Stop taking mail, finish what is in hand, close everything, in that order."""
        if self.health:
            self.health.start_draining()
        if self.smtp:
            await self.smtp.drain(self.settings.smtp.drain_s)
        if self.web:
            await self.web.stop()
        if self.intake:
            await self._close_intake(self.intake)
        if self.notices:
            await self.notices.drain(self.settings.smtp.drain_s)
        await self._drain_upkeep()
        if self.worker:
            await self.worker.drain(self.settings.smtp.drain_s)
        if self.health:
            await self.health.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self.org:
            await self.org.close()
        if self._store:
            await self._store.close()

    async def _drain_upkeep(self) -> None:
        """End what is done beside the worker, before it."""
        if self.alerter:
            await self.alerter.drain(self.settings.smtp.drain_s)
        for part in (self.rematch, self.reminder_sync):
            if part:
                await part.drain()
        if self.copies:
            await self.copies.drain(self.settings.smtp.drain_s)

    async def _close_intake(self, intake: Intake) -> None:
        await intake.close()
        if self._authenticator:
            await self._authenticator.close()
        if self._resolver:
            await self._resolver.close()

    # ------------------------------------------------------------ in the background

    async def _take_back(self) -> None:
        """End the leases of processes of this host that are no more."""
        alive = self._alive()
        await self.store.leases.release_dead(self.owner, alive)
        await self.store.attachments.release_dead(self.owner, alive)
        await self.store.notices.release_dead(self.owner, alive)
        await self.store.alerts.release_dead(self.owner, alive)
        freed = await self.store.queue.release_dead(self.owner, alive)
        if freed:
            logger.info("leases_taken_back", count=freed)

    def _alive(self) -> Callable[[str], bool]:
        """Return what says whether the process of a lease's owner may still run."""
        shared = not self.settings.store.url.startswith("sqlite")
        return functools.partial(is_alive, shared=shared)

    async def _follow_the_dead(self) -> None:
        """Look again: a killed predecessor may need a moment to be gone."""
        while True:
            await asyncio.sleep(TAKE_BACK_S)
            try:
                await self._take_back()
            except StoreUnavailable as error:
                logger.warning("leases_not_taken_back", error=str(error))

    async def _tidy(self) -> None:
        """Remove what was left behind, where mail comes in."""
        while True:
            try:
                await self.store.tidy()
                days = self.settings.sender.signature_keep_days
                await self.store.sender.purge(days)
            except StoreUnavailable as error:
                logger.warning("store_not_tidied", error=str(error))
            except Exception:
                logger.exception("store_not_tidied")
            await asyncio.sleep(TIDY_S)

    async def _index(self) -> None:
        """Bring the index of words up to date, where mail is dealt with."""
        while True:
            pause_s = INDEX_S
            try:
                # Mail that waits for the store comes between two blocks.
                if await self.store.search_index.turn():
                    pause_s = INDEX_NEXT_S
            except StoreUnavailable as error:
                logger.warning("search_not_indexed", error=str(error))
            except Exception:
                logger.exception("search_not_indexed")
            await asyncio.sleep(pause_s)

    async def _read_directory(self, store: Store) -> None:
        """Take over what an admin edited; from here on it holds in this process."""
        known = self._directory
        self._directory = self.settings.directory(await store.directory.load())
        logger.info("directory_read", revision=self._directory.revision)
        is_on = self._directory.logging_is_on
        metrics.LOGGING_ON.set(is_on)
        if is_on != (known is None or known.logging_is_on):
            logger.warning("logging_switched", on=is_on)

    async def _follow_directory(self) -> None:
        """Take over what an admin edits, from whichever process."""
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                revision = await self.store.directory.revision()
                if revision != self.directory().revision:
                    await self._read_directory(self.store)
            except StoreUnavailable as error:
                logger.warning("directory_not_read", error=str(error))
            except Exception:
                logger.exception("directory_not_read")

    async def _update_gauges(self) -> None:
        """Bring the gauges of queue and pause up to date, before each scrape."""
        if self.worker is not None:
            await self.worker.breaker.follow()
        counts = await self.store.queue.counts()
        for notice_state, count in (await self.store.notices.counts()).items():
            metrics.NOTICES.labels(str(notice_state)).set(count)
        for rule, count in (await self.store.alerts.counts()).items():
            metrics.ALERTS.labels(rule.value).set(count)
        for state in State:
            metrics.QUEUE.labels(str(state)).set(counts.get(state, 0))
        for file_state, count in (await self.store.attachments.counts()).items():
            metrics.FILES_NOW.labels(str(file_state)).set(count)
        oldest = await self.store.queue.oldest_queued()
        age = (self.clock.now() - oldest).total_seconds() if oldest else 0.0
        metrics.QUEUE_OLDEST.set(max(0.0, age))

    # ------------------------------------------------------------ probes

    async def _probe_store(self) -> tuple[bool, str]:
        # By the committer, as mail goes: that the store can be read proves little.
        try:
            await self.store.messages.try_write()
        except StoreUnavailable as error:
            return False, str(error)
        free = self.store.messages.free_bytes()
        if free < self.settings.store.min_free_bytes:
            return False, f"{free} bytes free, below store.min_free_bytes"
        return True, f"{free} bytes free"

    async def _probe_logging(self) -> tuple[bool, str]:
        if self.directory().logging_is_on:
            return True, "on"
        return False, "switched off by an administrator: relay activate"

    async def _probe_smtp(self) -> tuple[bool, str]:
        if self.smtp is None or not self.smtp.places:
            return False, "no listener"
        return True, ", ".join(self.smtp.places)

    async def _probe_salesforce(self) -> tuple[bool, str]:
        if self.worker is None:
            return True, "this process has no worker"
        return await self.worker.breaker.report()


# ---------------------------------------------------------------- for people


def listeners(app: App) -> dict[str, Any]:
    """Return where the app listens, for the log and for people."""
    places: dict[str, Any] = {"roles": sorted(app.roles)}
    if app.smtp:
        places["smtp"] = app.smtp.places
    if app.web and app.web.listening:
        places["web"] = _place(*app.web.listening)
    if app.health and app.health.listening:
        places["telemetry"] = _place(*app.health.listening)
    return places


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def explain(
    settings: Settings,
    raw: bytes,
    user_text: str | None,
    part: int = 1,
    rcpt: str = "",
) -> dict[str, Any]:
    """Say what would be logged for a mail, and why; write nothing.

    Args:
        settings: The file and the environment.
        raw: The mail.
        user_text: For whom it would come; None: the user of `rcpt`.
        part: Of several mails that it forwards, which one, from 1.
        rcpt: The relay address to which it would come.

    Raises:
        NotFound: No such user.
        InvalidInput: `rcpt` is no relay address of the user.
        UnparsableMessage, SalesforceUnavailable, OrgPaused: As `relay.worker.explain`.
    """
    settings.require_salesforce()
    clock = SystemClock()
    store = await Store.open(settings.store, clock)
    org = Org(settings.salesforce, clock)
    try:
        directory = settings.directory(await store.directory.load())
        if rcpt:
            user = _addressee(settings, directory, rcpt)
            if user_text and (await store.directory.find_user(user_text)).id != user.id:
                text = f"{rcpt} is a relay address of {user.email}, not of {user_text}"
                raise InvalidInput(text, "leave out --user, or name that user")
        else:
            user = await store.directory.find_user(user_text or "")
        await org.start()
        mode = WriteMode(settings.salesforce, store, clock)
        return await explain_mail(
            settings,
            store,
            org,
            mode,
            directory=directory,
            user=user,
            raw=raw,
            now=clock.now(),
            part=part,
            rcpt=rcpt,
        )
    finally:
        await org.close()
        await store.close()


def _addressee(settings: Settings, directory: Directory, rcpt: str) -> User:
    """Return whose relay address this is.

    Raises:
        InvalidInput: It is nobody's, or what stands behind its plus is no record id.
    """
    local, _, domain = rcpt.rpartition("@")
    user_id = directory.owner_of(token_of(local))
    if user_id is None or domain_key(domain) not in map(
        domain_key, settings.smtp.domains
    ):
        problem = f"{rcpt} is nobody's relay address"
        raise InvalidInput(problem, "relay user show USER has the user's address")
    if "+" in local and not (record_in(rcpt) or tag_of(rcpt)):
        problem = f"what stands behind the plus of {rcpt} is no record id, and no tag"
        raise InvalidInput(
            problem, "write the id of 18 characters, or a tag such as +todo-3d"
        )
    return directory.users[user_id]


@asynccontextmanager
async def replaying(
    settings: Settings,
    change: RuleChange,
    wanted: PastFilter,
    *,
    who: str | None = None,
    limit: int | None = None,
    dry: bool = False,
) -> AsyncIterator[Replay]:
    """Make ready to try a change of rules on past mail; see `relay.worker.replay`.

    The calls that it makes count among those of the relay; nothing else is written.

    Args:
        settings: The file and the environment.
        change: The rules to try.
        wanted: Which mails.
        who: Only mail of this user, by address or name.
        limit: Look at so many of the newest mails at most.
        dry: Do not ask Salesforce; count the calls that it would be.

    Raises:
        NotFound: No such user.
        InvalidInput: The change does not fit together, or does not fit the org.
        OrgPaused: The org is paused.
        StoreUnavailable: The store cannot be read.
    """
    settings.require_salesforce()
    clock = SystemClock()
    store = await Store.open(settings.store, clock)
    # An address is asked for once in a run, and both decisions see the same records.
    kept_s = {"cache_s": REPLAY_CACHE_S, "cache_negative_s": REPLAY_CACHE_S}
    section = settings.salesforce.model_copy(update=kept_s)
    org = DryOrg(section, clock) if dry else Org(section, clock)
    try:
        if who is not None:
            user = await store.directory.find_user(who, removed=True)
            wanted = replace(wanted, user_id=user.id)
        if isinstance(org, Org):
            await org.start()
            paused = await store.pauses.get(str(section.instance_url))
            if paused.pause is not None:
                raise OrgPaused(paused.pause.report, code=paused.pause.code)
            org.budget.load(await store.usage.get())
            # A field that is not there would be left out, and nothing would differ.
            for key, value in change.settings.items():
                await check_in_org(org, key, value)
        parts = ReplayParts(
            settings,
            store,
            org,
            WriteMode(section, store, clock),
            settings.directory(await store.directory.load()),
        )
        yield Replay(parts, change, wanted, limit=limit)
    finally:
        if isinstance(org, Org):
            await _count_calls(org, store)
            await org.close()
        await store.close()


async def _count_calls(org: Org, store: Store) -> None:
    """Add the calls of a command to those of the relay, whose share they use."""
    made = org.budget.pending()
    if not made:
        return
    try:
        await store.usage.add(socket.gethostname(), made, org.budget.last_reading())
    except StoreUnavailable as error:
        logger.warning("note_not_kept", note="usage", error=str(error))


# ---------------------------------------------------------------- who we are


def lease_owner() -> LeaseOwner:
    """Return this process as the owner of leases."""
    pid = os.getpid()
    return LeaseOwner(socket.gethostname(), _boot_id(), pid, _started(pid) or "0")


def is_alive(owner: str, *, shared: bool = False) -> bool:
    """Say whether the process that held a lease may still run.

    A process of another host may, and so may one of another container, whose pids are
    not ours. One of this host is looked for by boot, pid and start time, so that a pid
    used again is not taken for its predecessor.

    Args:
        owner: The lease's owner as stored.
        shared: Several machines use the store; two of them may have one name.
    """
    host, boot_id, pid, started, *_ = owner.split("/")
    if host != socket.gethostname():
        return True
    boot, _, namespace = boot_id.partition("+")
    our_boot, _, our_namespace = _boot_id().partition("+")
    if boot != our_boot:
        return shared
    if namespace != our_namespace:
        return True
    now = _started(int(pid))
    if now is not None or Path("/proc/self/stat").exists():
        return started == now
    try:  # A system without /proc: the pid is all there is to go by.
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _boot_id() -> str:
    """Return the boot of this machine, and the namespace in which our pid counts."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        namespace = Path("/proc/self/ns/pid").readlink().name
    except OSError:
        return "unknown+"
    return f"{boot}+{namespace.strip('pid:[]')}"


def _started(pid: int) -> str | None:
    """Return the start time of a process in clock ticks since boot, or None."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # The name in parentheses may hold anything, spaces and parentheses too.
    fields = stat.rpartition(")")[2].split()
    return fields[_START_TIME] if len(fields) > _START_TIME else None
