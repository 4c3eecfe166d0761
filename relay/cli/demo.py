"""`relay demo`: the whole relay at work on one machine, in one process.

A sandbox org, the SMTP intake and the worker run on free loopback ports with a store
in a temporary folder. Nothing here is special to the demo but the seven mails: the
settings come from a file, the mails go through SMTP, the records through HTTP. A name
server on loopback has the domains of those who write: each mail is signed by the domain
that sends it, and judged by the rule that a new relay has.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.policy import SMTP
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import click

from relay.admin.inputs import relay_address
from relay.cli.demo_mails import (
    FORGER,
    REFUSED,
    STRANGER,
    Cast,
    Scene,
    cast,
    names,
    scenes,
    timeline,
)
from relay.cli.entry import FAILED, open_store
from relay.cli.log import records
from relay.cli.output import clean, console, print_json, state_style, table
from relay.cli.sandbox import SNIPPET, running_sandbox
from relay.core.addresses import domain_of
from relay.core.directory import Role
from relay.core.model import LogFilter
from relay.core.states import RESTING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from relay.app import App
    from relay.cli.sandbox import RunningSandbox
    from relay.config import Settings
    from relay.sandbox.dns import DNSServer
    from relay.sandbox.signing import MailSigner

SETTLE_S: Final = 45.0
"""Time for all mails to settle; a slow machine needs a few seconds."""
_POLL_S: Final = 0.1
_HOST: Final = "127.0.0.1"
_DOMAIN: Final = "log.demo.example"
_GREETING_S: Final = 15.0
_NAME: Final = "relay"
_ADMIN: Final = "admin@demo.example"


class Step(Protocol):
    """Says how far the demo is."""

    def __call__(self, text: str, advance: int = 0) -> None:
        """Show a text, and that `advance` mails more are settled."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one mail, beside what was to come of it."""

    scene: Scene
    state: str
    reply: str
    reason: str
    """The word of the log."""
    why: str
    """The same for people."""
    proof: str
    """What proved the author; empty where nothing did."""
    cause: str
    """Why the author was not proven, by its number."""
    records: Sequence[Mapping[str, Any]]
    shown_on: str
    as_expected: bool
    id: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the stable names that `relay demo --json` prints."""
        return {
            "mail": self.scene.title,
            "id": self.id,
            "state": self.state,
            "expected": self.scene.state,
            "as_expected": self.as_expected,
            "records": list(self.records),
            "proof": self.proof,
            "cause": self.cause,
            "shown_on": self.shown_on,
            "reason": self.reason,
            "why": self.why,
            "reply": self.reply,
        }


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs for the demo."""

    app: App
    sandbox: RunningSandbox
    people: Cast
    relay_address: str
    console: str
    links: Mapping[str, str]
    """By address: signs in once, by setting a password."""
    config: Path
    smtp: tuple[str, int]
    dns: tuple[str, int]
    signers: Mapping[str, MailSigner]
    """By domain."""


@click.command()
@click.option("--once", is_flag=True, help="End after the seven mails.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def demo(*, once: bool, as_json: bool) -> None:
    """Show the relay with seven mails, without an org.

    The mails go through real SMTP into a sandbox org. With --once the exit status is 0
    if all seven ended as expected.
    """
    try:
        good = asyncio.run(_demo(once=once, as_json=as_json))
    except (KeyboardInterrupt, asyncio.CancelledError):
        if not as_json:
            click.echo("\nStopped; the demo's folder is removed.")
        return
    if not good:
        sys.exit(FAILED)


async def _demo(*, once: bool, as_json: bool) -> bool:
    task = asyncio.current_task()
    if task is not None:
        # However it is asked to end, the folder is removed.
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with _stage() as stage:
        if not as_json:
            _opening(stage)
        planned = scenes(stage.people, datetime.now(UTC), stage.relay_address)
        with _progress(len(planned), quiet=as_json) as step:
            outcomes = await _play(stage, planned, step)
        if as_json:
            print_json(outcome.as_json() for outcome in outcomes)
        else:
            _outcomes(outcomes)
        good = all(outcome.as_expected for outcome in outcomes)
        if not once:
            await _stay(stage, as_json=as_json)
        return good


# ---------------------------------------------------------------- setting up


@asynccontextmanager
async def _stage() -> AsyncIterator[Stage]:
    """Start the sandbox and the relay; stop them and remove the folder at the end."""
    from relay.app import ROLES, App  # noqa: PLC0415 - brings every part of the relay
    from relay.config import load  # noqa: PLC0415
    from relay.sandbox.dns import DNSServer  # noqa: PLC0415 - dnspython
    from relay.telemetry import configure_logging  # noqa: PLC0415

    with (
        tempfile.TemporaryDirectory(
            prefix="relay-demo-", ignore_cleanup_errors=True
        ) as folder,
        DNSServer() as dns,
    ):
        async with running_sandbox(_HOST, 0) as sandbox:
            config = Path(folder) / "relay.toml"
            # Bound before the settings are written: links name its port.
            web = socket.create_server((_HOST, 0))
            place = f"{_HOST}:{web.getsockname()[1]}"
            config.write_text(
                _toml(Path(folder), sandbox.url, dns.address, place), "utf-8"
            )
            config.chmod(0o600)  # It has the secret of the sandbox.
            loaded = load(config, {})
            configure_logging(loaded.telemetry)
            people = cast(
                await sandbox.dump(), integration_user=sandbox.integration_user
            )
            signers = _publish(dns, people)
            address, links = await _add_users(loaded, people)
            app = App(loaded, roles=ROLES | {"web"}, bound={place: [web.detach()]})
            await app.start()
            try:
                if app.smtp is None:
                    raise RuntimeError
                smtp = app.smtp.listening[0]
                yield Stage(
                    app=app,
                    sandbox=sandbox,
                    people=people,
                    relay_address=address,
                    console=f"http://{place}/",
                    links=links,
                    config=config,
                    smtp=smtp,
                    dns=dns.address,
                    signers=signers,
                )
            finally:
                await app.drain()


def _publish(dns: DNSServer, people: Cast) -> dict[str, MailSigner]:
    """Put the domains of all who write into the DNS; return who signs for them.

    Each may send from this machine, by SPF, so that mail of one's own needs no key.
    """
    from relay.sandbox.dns import txt_record  # noqa: PLC0415 - dnspython
    from relay.sandbox.signing import MailSigner  # noqa: PLC0415 - cryptography

    writers = (str(people.rep["Email"]), STRANGER[1], FORGER)
    signers = {domain: MailSigner(domain) for domain in map(domain_of, writers)}
    for domain, signer in signers.items():
        dns.zones.add(
            txt_record(domain, "v=spf1 ip4:127.0.0.0/8 ip6:::1 -all")
            + txt_record(f"_dmarc.{domain}", "v=DMARC1; p=reject")
            + signer.zone
        )
    return signers


def _toml(folder: Path, url: str, dns: tuple[str, int], web: str) -> str:
    # A literal TOML string takes a path as it is; "'" cannot stand in one.
    store = str(folder / "relay.db").replace("'", "")
    return f"""\
[smtp]
listen = ["{_HOST}:0"]
hostname = "localhost"
domains = ["{_DOMAIN}"]
drain_s = 2

[dns]
servers = ["{dns[0]}:{dns[1]}"]

[store]
url = 'sqlite:///{store}'
min_free_bytes = 1048576

{SNIPPET.format(url=url)}
[web]
listen = "{web}"

[telemetry]
log_level = "error"
"""


async def _add_users(loaded: Settings, people: Cast) -> tuple[str, dict[str, str]]:
    """Add the two of us and an administrator, as `relay user add` does.

    Returns:
        The rep's relay address, and links by which rep and administrator sign in.
    """
    from relay.accounts import Accounts  # noqa: PLC0415 - argon2

    async with open_store(loaded) as store:
        rep, _ = [
            await store.directory.add_user(
                str(row["Name"]), str(row["Email"]), Role.REP, None, "demo"
            )
            for row in (people.rep, people.colleague)
        ]
        admin = await store.directory.add_user(
            "Demo Admin", _ADMIN, Role.ADMIN, None, "demo"
        )
        accounts = Accounts(store, loaded)
        links = {
            user.email: (await accounts.make_link(user, "demo"))[0]
            for user in (admin, rep)
        }
        return str(relay_address(loaded.smtp.domains, rep)), links


# ---------------------------------------------------------------- playing


async def _play(stage: Stage, planned: Sequence[Scene], step: Step) -> list[Outcome]:
    """Send the mails, wait until each is settled, and read what Salesforce holds."""
    replies = []
    for scene in planned:
        step(f"sending: {scene.title}")
        replies.append(await asyncio.to_thread(_send, stage, scene))
    step("waiting for the worker", 0)
    rows = await _settled(stage, planned, replies, step)
    org = await stage.sandbox.dump()
    return [
        outcome(scene, reply, row, org)
        for scene, reply, row in zip(planned, replies, rows, strict=True)
    ]


def _send(stage: Stage, scene: Scene) -> tuple[int, str]:
    """Send one mail by SMTP; return the reply that decided about it."""
    import smtplib  # noqa: PLC0415

    with smtplib.SMTP(*stage.smtp, "localhost", timeout=_GREETING_S) as client:
        client.ehlo()
        for code, text in (
            client.mail(scene.mail_from),
            client.rcpt(stage.relay_address),
        ):
            if code >= 400:  # noqa: PLR2004 - RFC 5321 section 4.2.1
                return code, text.decode("utf-8", "replace")
        # A mail travels with CR LF, and smtplib leaves bytes as they are.
        raw = scene.mail.as_bytes(policy=SMTP)
        code, text = client.data(stage.signers[scene.domain].sign(raw))
        return code, text.decode("utf-8", "replace")


async def _settled(
    stage: Stage,
    planned: Sequence[Scene],
    replies: Sequence[tuple[int, str]],
    step: Step,
) -> list[Mapping[str, Any] | None]:
    """Return the row of each mail once it has settled; a refused one has a refusal."""
    rows: list[Mapping[str, Any] | None] = [None] * len(replies)
    waiting = {
        index: text.split()[-1]
        for index, (code, text) in enumerate(replies)
        if code == 250  # noqa: PLR2004
    }
    for index in set(range(len(replies))) - set(waiting):
        rows[index] = await _refusal(stage, planned[index])
        step(f"refused: {planned[index].mail['Subject']}", 1)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SETTLE_S
    while waiting and loop.time() < deadline:
        for index, id_ in list(waiting.items()):
            rows[index] = row = await stage.app.store.log.show(id_)
            if row["state"] in RESTING:
                del waiting[index]
                step(f"{row['state']}: {row.get('subject') or id_}", 1)
        await asyncio.sleep(_POLL_S)
    return rows


async def _refusal(stage: Stage, scene: Scene) -> Mapping[str, Any] | None:
    """Return the newest refusal of this sender."""
    store = stage.app.store
    for row in await store.log.find(LogFilter(refused=True, newest_first=True)):
        if row["mail_from"] == scene.mail_from:
            return await store.log.show(row["id"])
    return None


def outcome(
    scene: Scene,
    reply: tuple[int, str],
    row: Mapping[str, Any] | None,
    org: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Outcome:
    """Compare what came of a mail with what had to.

    A logged mail must be on the timeline of exactly the records it is about, as the
    org itself reports; a refused one must have got 550 and be among the refusals, for
    the cause that was to be.
    """
    code, text = reply
    written = tuple((row or {}).get("records") or ())
    verdict = (row or {}).get("verdict") or {}
    on = timeline(org, written)
    if row is not None and row.get("kind") == "refusal":
        state = REFUSED
        good = scene.state == REFUSED and code == 550  # noqa: PLR2004
        good = good and verdict.get("cause") == scene.cause
    else:
        state = str(row["state"]) if row else "missing"
        good = state == scene.state and on == scene.on
    return Outcome(
        scene=scene,
        state=state,
        reply=f"{code} {text}",
        reason=str((row or {}).get("reason") or ""),
        why=why(row) if row else "it is not in the log",
        proof=str(verdict.get("proof") or ""),
        cause=str(verdict.get("cause") or ""),
        records=written,
        shown_on=names(org, on),
        as_expected=good,
        id=row["id"] if row else None,
    )


# ---------------------------------------------------------------- staying up


async def _stay(stage: Stage, *, as_json: bool) -> None:
    """Say how to send one's own mail, and show what arrives until Ctrl-C."""
    from relay.cli.log import follow_log  # noqa: PLC0415
    from relay.console.feed import cursor_now  # noqa: PLC0415

    if as_json:
        print_json([_addresses(stage)])
    else:
        _instructions(stage)
    store = stage.app.store
    cursor = await cursor_now(store)
    await follow_log(store, LogFilter(), [], cursor, as_json=as_json)


# ---------------------------------------------------------------- showing


def _opening(stage: Stage) -> None:
    """Say what runs where."""
    host, port = stage.smtp
    rep = stage.people.rep
    click.echo(f"Salesforce sandbox  {stage.sandbox.url}")
    click.echo(f"SMTP intake         {host}:{port}")
    click.echo(f"Name server         {stage.dns[0]}:{stage.dns[1]}")
    click.echo(f"Console             {stage.console}")
    click.echo(f"Relay address       {stage.relay_address}")
    click.echo(clean(f"                    of {rep['Name']} <{rep['Email']}>"))
    click.echo()


@contextmanager
def _progress(mails: int, *, quiet: bool) -> Iterator[Step]:
    """Show a bar on a terminal, plain lines in a file or pipe, nothing if quiet."""
    if quiet:
        yield lambda _text, _advance=0: None
    elif not sys.stdout.isatty():
        yield lambda text, _advance=0: click.echo(f"  {clean(text)}")
    else:
        from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

        bar = Progress(
            BarColumn(bar_width=20),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.description}", markup=False),
            console=console(),
            transient=True,
        )
        with bar:
            task = bar.add_task("", total=mails)

            def step(text: str, advance: int = 0) -> None:
                bar.update(task, description=clean(text), advance=advance)

            yield step


def _outcomes(found: Sequence[Outcome]) -> None:
    """Print the table: mail, state, records written, reason."""
    table(
        ["mail", "state", "records written", "reason"],
        ((one.scene.title, one.state, _written(one), one.why) for one in found),
        styles={"state": state_style},
        wrap=True,
        lines=True,
    )
    for one in found:
        if not one.as_expected:
            text = f"Not as expected: {one.scene.title} should be {one.scene.state}"
            click.secho(f"{text}; it is {one.state} on {one.shown_on or 'nothing'}.")
    if all(one.as_expected for one in found):
        click.echo(f"All {len(found)} mails ended as they must.")


def _written(one: Outcome) -> str:
    kinds = records({"records": one.records})
    return f"{kinds} on {one.shown_on or 'nothing'}" if kinds else "none"


def why(row: Mapping[str, Any]) -> str:
    """Return in a sentence why a message or refusal ended as it did."""
    if row.get("kind") == "refusal":
        return str(row["reply"])
    rules = [
        part.partition(": ")[2] or part
        for record in row.get("records") or ()
        for part in str(record["rule"]).split("; ")
    ]
    if rules:
        return "; ".join(dict.fromkeys(rules))
    # The step "attempt" repeats what the one before it found.
    details = [
        step["detail"]
        for step in row.get("trace") or ()
        if step["detail"] and step["step"] != "attempt"
    ]
    return str(details[-1] if details else row.get("reason") or "")


def _addresses(stage: Stage) -> dict[str, Any]:
    """Return where everything is, for programs."""
    host, port = stage.smtp
    return {
        "smtp": f"{host}:{port}",
        "sandbox": stage.sandbox.url,
        "console": stage.console,
        "sign_in_links": dict(stage.links),
        "dns": "{}:{}".format(*stage.dns),
        "relay_address": stage.relay_address,
        "sender": stage.people.rep["Email"],
        "config": str(stage.config),
    }


def _mail(sender: str, customer: str, mark: str, message_id: str) -> str:
    """Return a mail as a shell's or Python's string; the mark makes it one of its own.

    Mails with the same content are one mail, and are logged once.
    """
    lines = (
        f"From: {sender}",
        f"To: {customer}",
        f"Subject: Mine {mark}",
        f"Message-ID: {message_id}",
        "",
        "Hello",
        "",
    )
    return "\\r\\n".join(lines)


def _instructions(stage: Stage) -> None:
    """Say how to send a mail, and how to look at what it became."""
    host, port = stage.smtp
    sender = str(stage.people.rep["Email"])
    customer = str(stage.people.contact["Email"])
    relay = stage.relay_address
    config = shlex.quote(str(stage.config))
    program = called_as()
    python = (
        "import smtplib, email.utils as u; i = u.make_msgid(); "
        f"smtplib.SMTP('{host}', {port}).sendmail('{sender}', '{relay}', "
        f"f'{_mail(sender, customer, '{i[5:13]}', '{i}')}')"
    )
    swaks = (
        f"swaks --server {host}:{port} --from {sender} --to {relay} "
        f'--h-To {customer} --h-Subject "Mine $(date +%T)" --body Hello'
    )
    curl = (
        f"printf '{_mail(sender, customer, '%s', '<%s@demo.example>')}' "
        f"$(date '+%T %s.%N') | curl -sS smtp://{host}:{port} "
        f"--mail-from {sender} --mail-rcpt {relay} -T -"
    )
    click.echo(
        "\n".join(
            (
                "",
                "Send a mail of your own, with one of these:",
                f"  {swaks}",
                f"  {curl}",
                f'  python3 -c "{python}"',
                "",
                "See everything in a browser; each link signs in once:",
                *(f"  {link}  ({email})" for email, link in stage.links.items()),
                "",
                "Look at what it became:",
                f"  {program} --config {config} log",
                f"  {program} --config {config} show ID",
                f"  curl -s {stage.sandbox.url}/sandbox/dump",
                "",
                "Ctrl-C ends the demo and removes its folder. What arrives:",
            )
        )
    )


def called_as() -> str:
    """Return what to type for `relay`: its name where PATH finds it, else its path.

    A path inside the working directory is relative, such as `.venv/bin/relay`. Started
    as a module, it is this interpreter with `-m relay`.
    """
    program = Path(sys.argv[0])
    if program.name != _NAME or not os.access(program, os.X_OK) or program.is_dir():
        return f"{shlex.quote(_short(Path(sys.executable)))} -m {_NAME}"
    found = shutil.which(_NAME)
    if found and Path(found).samefile(program):
        return _NAME
    return shlex.quote(_short(program))


def _short(program: Path) -> str:
    # Not resolved: the link in a virtual environment is what finds its packages.
    absolute = program.absolute()
    here = Path.cwd()
    if not absolute.is_relative_to(here):
        return str(absolute)
    relative = str(absolute.relative_to(here))
    return relative if "/" in relative else f"./{relative}"
