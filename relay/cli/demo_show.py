"""What the demo prints."""

from __future__ import annotations

import shlex
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import click

from relay.cli.called import called_as
from relay.cli.log import records
from relay.cli.output import clean, console, state_style, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from relay.cli.demo import Outcome, Stage


class Step(Protocol):
    """Says how far the demo is."""

    def __call__(self, text: str, advance: int = 0) -> None:
        """Show a text, and that `advance` mails more are settled."""


def opening(stage: Stage) -> None:
    """Say what runs where."""
    host, port = stage.smtp
    rep = stage.people.rep
    click.echo(f"Salesforce sandbox  {stage.sandbox.url}")
    click.echo(f"SMTP intake         {host}:{port}")
    click.echo(f"Relay address       {stage.relay_address}")
    click.echo(clean(f"                    of {rep['Name']} <{rep['Email']}>"))
    click.echo()


@contextmanager
def progress(mails: int, *, quiet: bool) -> Iterator[Step]:
    """Show a bar on a terminal, plain lines elsewhere, nothing if quiet."""
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


def outcomes(found: Sequence[Outcome]) -> None:
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


def addresses(stage: Stage) -> dict[str, Any]:
    """Return where everything is, for programs."""
    host, port = stage.smtp
    return {
        "smtp": f"{host}:{port}",
        "sandbox": stage.sandbox.url,
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


def instructions(stage: Stage) -> None:
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
                "Look at what it became:",
                f"  {program} --config {config} log",
                f"  {program} --config {config} show ID",
                f"  curl -s {stage.sandbox.url}/sandbox/dump",
                "",
                "Ctrl-C ends the demo and removes its folder. What arrives:",
            )
        )
    )
