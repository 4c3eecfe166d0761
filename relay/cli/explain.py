"""`relay explain`: what a mail would become, without writing anything."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from relay.admin.rule_change import read_rules
from relay.cli.entry import (
    Failure,
    RelayCommand,
    open_store,
    run,
    settings,
    whole_id,
)
from relay.cli.output import clean, facts, json_option, print_json, table
from relay.cli.replay import past_options, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from relay.config import Settings

_ID: Final = re.compile("[0-9A-Za-z]{8,26}")
_LONGEST: Final = 300
"""Characters of a field shown to people; --json has them all."""
_FOR_PROGRAMS: Final = frozenset({"mend", "write_as", "slot", "key"})
"""`mend` is the former name of `hint`, for scripts alone."""
_TECHNICAL: Final = frozenset(
    {
        *("Headers", "HtmlBody", "Incoming", "IsClientManaged", "IsTracked"),
        *("MessageIdentifier", "Status", "ThreadIdentifier"),
    }
)
"""Fields of an EmailMessage that are about the mail as a file."""
_SAID: Final = {
    "logged": "would be logged",
    "skipped": "would be skipped",
    "unmatched": "would be unmatched",
    "queued": "would wait",
    "refused": "would be refused",
}
"""States for people: nothing has happened yet."""


@click.command(cls=RelayCommand)
@click.argument(
    "file", metavar="[FILE.eml | ID]", required=False, type=click.Path(allow_dash=True)
)
@click.option(
    "--user",
    "who",
    metavar="USER",
    help="The user for whom the mail would be logged; with --rules: only their mail.",
)
@click.option(
    "--rcpt",
    metavar="ADDRESS",
    default="",
    help="The relay address to which the mail would come, in place of --user; it may "
    "name a record behind a plus.",
)
@click.option(
    "--rules",
    metavar="NEW.toml",
    type=click.Path(path_type=Path),
    help="Try these rules on mail that was logged or left out.",
)
@click.option(
    "--part",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    help="Of several mails that are attached, which one.",
)
@past_options
@json_option
def explain(
    file: str | None,
    who: str | None,
    rcpt: str,
    rules: Path | None,
    part: int,
    *,
    as_json: bool,
    dry: bool,
    **past: Any,
) -> None:
    """Show what the relay would log for a mail, and why; nothing is written.

    FILE.eml is a saved mail; - reads it from standard input. The id of a message in
    its place, as in `relay log`, is a mail that the relay has; its user is known.

    With --rules NEW.toml in its place, show what a change of rules would do to past
    mail: each mail that would be logged, no longer be logged, or be logged on other
    records. NEW.toml holds what is to change of [match] and [automatic], address_rules
    of [user], and [[exclude]] with pattern, skip and user. --dry says first how many
    API calls that takes.
    """
    if rules is not None:
        if file is not None:
            raise click.UsageError("name a mail or --rules, not both")
        if rcpt:
            raise click.UsageError("--rcpt goes with a saved mail")
        loaded = settings()
        change = read_rules(loaded, _text(rules))
        show(loaded, change, who=who, dry=dry, as_json=as_json, **past)
        return
    if file is None:
        raise click.UsageError("name a saved mail, or rules to try with --rules")
    if dry or any(value is not None for value in past.values()):
        raise click.UsageError("--since, --until, --limit and --dry go with --rules")
    stored = is_id(file)
    if who is None and not rcpt and not stored:
        raise click.UsageError("Missing option '--user' or '--rcpt'")
    raw = b"" if stored else _read(file)
    if not stored:
        _check(file, raw)
    loaded = settings()
    if stored:
        raw, owner = run(_stored(loaded, file))
        who = who or owner
    if who is None and not rcpt:
        raise click.UsageError("the mail is for postmaster: name a --user")
    loaded.require_salesforce()
    from relay import app  # noqa: PLC0415 - brings every part of the relay

    answer = run(app.explain(loaded, raw, who, part, rcpt))
    if as_json:
        print_json([answer])
    else:
        print_answer(_for_people(answer))


def _for_people(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what people ask first; --json has the rest.

    Keys and fields that only programs read are left out, and that a mail is one mail.
    """
    hidden = _FOR_PROGRAMS | ({"part", "parts"} if answer.get("parts") == 1 else set())
    shown = {name: value for name, value in answer.items() if name not in hidden}
    shown["state"] = _SAID.get(answer["state"], answer["state"])
    if "activities" in shown:
        shown["activities"] = [
            {
                name: value
                for name, value in row.items()
                if name not in _FOR_PROGRAMS and name != "fields"
            }
            | {"fields": _without(row.get("fields"))}
            for row in shown["activities"]
        ]
    return shown


def _without(fields: object) -> object:
    if not isinstance(fields, dict):
        return fields
    return {name: one for name, one in fields.items() if name not in _TECHNICAL}


def is_id(text: str) -> bool:
    """Say whether a text can only be an id of a message: there is no such file."""
    return bool(_ID.fullmatch(text)) and not Path(text).exists()


async def _stored(loaded: Settings, text: str) -> tuple[bytes, str | None]:
    """Return a mail that the relay has, and the e-mail address of its user."""
    from relay.console.mails import raw_mail  # noqa: PLC0415 - imports relay.mail

    async with open_store(loaded) as store:
        id_, _ = await whole_id(store, text)
        row = await store.log.show(id_)
        user = row["user"]
        return await raw_mail(store, id_), None if user is None else str(user)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        problem = f"{path}: {error.strerror}; name a file of rules"
    except UnicodeDecodeError:
        problem = f"{path} is no text in UTF-8; name a file of rules"
    raise Failure(problem)


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        with click.open_file(file, "rb") as opened:
            content: bytes = opened.read()
    except OSError as error:
        problem = f"{file}: {error.strerror}; name a saved mail"
        raise Failure(problem) from None
    return content


def _check(file: str, raw: bytes) -> None:
    """Say what is in a file that is no mail, before anything is asked for it."""
    from relay.core.errors import UnparsableMessage  # noqa: PLC0415 - for `--help`
    from relay.mail import parse  # noqa: PLC0415 - for `--help`

    try:
        parse(raw)
    except UnparsableMessage as error:
        raise Failure(f"{file}: {error}") from None


def print_answer(answer: Mapping[str, Any]) -> None:
    """Print single values as lines, then lists of things as tables."""
    facts(
        (_title(key), _brief(one))
        for name, value in answer.items()
        if not _is_list_of_rows(value)
        for key, one in _lines(name, value)
    )
    for name, value in answer.items():
        if not _is_list_of_rows(value):
            continue
        click.echo()
        columns = list(dict.fromkeys(key for row in value for key in row))
        flat = [column for column in columns if column != "fields"]
        table(
            [_title(column) for column in flat],
            ([_brief(row.get(column)) for column in flat] for row in value),
            title=_title(name),
            wrap=True,
        )
        for row in value:
            if isinstance(row.get("fields"), dict):
                click.echo(f"{clean(row.get('object', name))}:")
                facts((f"  {key}", _brief(one)) for key, one in row["fields"].items())
                click.echo()


def _lines(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Return the lines of one answer; that about the sender has several."""
    if name != "sender" or not isinstance(value, dict):
        yield name, value
        return
    yield name, f"{value['address']} ({value['kind']})"
    yield "policy", f"{value['policy']}, otherwise {value['otherwise']}"
    for line in value["known"]:
        yield "of the sender", line


def _is_list_of_rows(value: object) -> bool:
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and all(isinstance(row, dict) for row in value)
    )


def _title(name: str) -> str:
    return name.replace("_", " ")


def _brief(value: object) -> str:
    if isinstance(value, dict):
        text = ", ".join(f"{key}: {_brief(one)}" for key, one in value.items())
    elif isinstance(value, (list, tuple)):
        text = ", ".join(_brief(one) for one in value)
    else:
        text = "" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
