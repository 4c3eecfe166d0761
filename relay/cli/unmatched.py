"""`relay unmatched`: mail that no record fits, what may be meant, and what to do.

Each command that decides takes ids, or filters: then it says first how many messages
fit, and asks. What is decided is a row of `relay history`, and can be taken back there.
"""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from relay.cli.entry import (
    FAILED,
    Failure,
    RelayGroup,
    actor,
    checked,
    open_store,
    run,
    settings,
    since_option,
    whole_id,
)
from relay.cli.output import (
    SHORT_ID,
    clean,
    counted,
    facts,
    json_option,
    print_json,
    table,
    when,
)
from relay.console import unmatched as unmatched_mail
from relay.console.salesforce import need_org, open_org
from relay.core.access import at_shell
from relay.core.clock import SystemClock
from relay.core.ids import record_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from relay.config import Settings
    from relay.core.unmatched import Scored, UnmatchedFilter, UnmatchedMessage
    from relay.salesforce import Org
    from relay.store import Store
    from relay.unmatched import Created, Entry, Resolved

FC = TypeVar("FC", bound="Callable[..., Any] | click.Command")

_LATEST: Final = 20
_SHOWN: Final = 5
"""Messages that are named before a confirmation."""


@click.group(cls=RelayGroup)
def unmatched() -> None:
    """Show mail that fits no record, with the records that may be meant; resolve it."""


# ------------------------------------------------------------------ shared


@asynccontextmanager
async def _need_org(loaded: Settings) -> AsyncIterator[Org]:
    loaded.require_salesforce()
    async with need_org(loaded) as org:
        yield org


def _address(text: str) -> str:
    from relay.admin.inputs import email_address  # noqa: PLC0415 - for `--help`

    return email_address(text)


def _domain(text: str) -> str:
    from relay.admin.inputs import email_address  # noqa: PLC0415 - for `--help`

    return email_address(f"x@{text.removeprefix('*@').removeprefix('@')}")[2:]


def filters(command: FC) -> FC:
    """Add the options that say which unmatched messages are meant."""
    for option in (
        click.option(
            "--domain",
            metavar="DOMAIN",
            callback=checked(_domain),
            help="Only with somebody of this domain who has no record.",
        ),
        click.option(
            "--address",
            metavar="ADDRESS",
            callback=checked(_address),
            help="Only with this address that no record has.",
        ),
        since_option("Only since then: 10m, 2h, 3d, or a time such as 2026-01-31."),
        click.option(
            "--reason", metavar="WORD", help="Only with this reason: no_record, …"
        ),
        click.option("--user", "who", metavar="USER", help="Only of this user."),
    ):
        command = option(command)
    return command


yes_option = click.option("--yes", is_flag=True, help="Do it without asking.")


async def _filter(
    store: Store, given: dict[str, Any], limit: int | None = None
) -> UnmatchedFilter:
    """Return what the options of `filters` ask for."""
    from relay.core.unmatched import UnmatchedFilter  # noqa: PLC0415

    who = given.pop("who")
    found = await store.directory.find_user(who, removed=True) if who else None
    return UnmatchedFilter(user_id=found.id if found else None, limit=limit, **given)


async def _chosen(
    store: Store, ids: Sequence[str], given: dict[str, Any], verb: str, *, yes: bool
) -> list[UnmatchedMessage]:
    """Return the messages that are named by id, or that fit the filters.

    Raises:
        Failure: None fits, or nobody confirmed.
        UsageError: Both are given, or neither.
    """
    by_filter = any(value is not None for value in given.values())
    if bool(ids) == by_filter:
        problem = "give either message ids or filters, such as --domain"
        raise click.UsageError(problem)
    who = at_shell(actor())
    if ids:
        wanted = [(await whole_id(store, one))[0] for one in ids]
        return await unmatched_mail.named(store, who, wanted)
    messages = await store.unmatched.find(await _filter(store, given))
    if not messages:
        raise Failure("no unmatched message fits; relay unmatched list shows all")
    if not yes:
        _ask(messages, verb)
    return messages


def _ask(messages: Sequence[UnmatchedMessage], verb: str) -> None:
    count = len(messages)
    what = counted(count, "message")
    click.echo(f"{what} to {verb}:", err=True)
    for one in messages[:_SHOWN]:
        people = ", ".join(person.address for person in one.people)
        click.echo(f"  {one.id}  {clean(one.subject)}  ({clean(people)})", err=True)
    if count > _SHOWN:
        click.echo(f"  … and {count - _SHOWN} more", err=True)
    if sys.stdin.isatty() and click.confirm("Go on?", err=True):
        return
    raise Failure(f"{what} not changed; --yes goes on without asking")


# ------------------------------------------------------------------ looking


@unmatched.command("list")
@filters
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=_LATEST,
    show_default=True,
    help="Show only the latest messages.",
)
@json_option
def list_unmatched(limit: int, *, as_json: bool, **given: Any) -> None:
    """List unmatched messages, the newest first, each with its likeliest record."""
    loaded = settings()
    from relay.unmatched import Candidates  # noqa: PLC0415 - heavy libraries

    async def job() -> tuple[Entry, ...]:
        async with open_store(loaded) as store, open_org(loaded) as org:
            wanted = await _filter(store, given, limit)
            return await Candidates(store, org).entries(wanted)

    entries = run(job())
    if as_json:
        print_json(entry.as_json() for entry in entries)
        return
    table(
        ["received (UTC)", "id", "user", "subject", "without record", "reason", "best"],
        (
            (
                when(entry.message.received_at),
                entry.message.id,
                entry.message.user,
                entry.message.subject,
                ", ".join(one.person.address for one in entry.people),
                entry.message.reason,
                _brief(entry.best),
            )
            for entry in entries
        ),
        whole=["received (UTC)", "id"],
        drop=["reason", "subject", "best", "user"],
        short={"id": SHORT_ID},
        fold=["without record", "best"],
        empty="Nothing is unmatched.",
    )


def _brief(best: Scored | None) -> str:
    """Return a candidate in a few words."""
    if best is None:
        return ""
    return f"{best.score} {best.hit.object} {best.hit.name}"


@unmatched.command("show")
@click.argument("message_id", metavar="ID")
@json_option
def show_unmatched(message_id: str, *, as_json: bool) -> None:
    """Show an unmatched message, and for each address the records that may be meant.

    The score is from 0 to 100; the relay never logs by it.
    """
    loaded = settings()
    from relay.unmatched import Candidates  # noqa: PLC0415 - heavy libraries

    async def job() -> Entry:
        async with open_store(loaded) as store, open_org(loaded) as org:
            ident, _ = await whole_id(store, message_id)
            return await Candidates(store, org).entry(ident)

    entry = run(job())
    if as_json:
        people = [one.as_json() for one in entry.people]
        print_json([entry.as_json() | {"people": people}])
        return
    _print_entry(entry)


def _print_entry(entry: Entry) -> None:
    message = entry.message
    facts(
        [
            ("id", message.id),
            ("received (UTC)", when(message.received_at)),
            ("user", message.user),
            ("from", message.sender),
            ("subject", message.subject),
            ("reason", f"{message.reason}: {message.detail}"),
        ]
    )
    for one in entry.people:
        click.echo()
        name = f"{one.person.name} " if one.person.name else ""
        title = f"{clean(name)}<{clean(one.person.address)}>"
        if one.candidates is None:
            click.echo(f"{title}: not searched, for want of Salesforce settings")
            continue
        table(
            ["score", "object", "id", "name", "account", "e-mail", "because"],
            (
                (
                    scored.score,
                    scored.hit.object,
                    scored.hit.id,
                    scored.hit.name,
                    scored.hit.account_name,
                    scored.hit.email,
                    "; ".join(scored.reasons),
                )
                for scored in one.candidates
            ),
            whole=["score", "object", "id"],
            title=title,
            wrap=True,
            empty=f"{title}: no record is near",
        )


# ------------------------------------------------------------------ deciding


@unmatched.command("resolve")
@click.argument("words", metavar="[ID]… RECORD_ID…", nargs=-1, required=True)
@filters
@click.option(
    "--for",
    "person",
    metavar="ADDRESS",
    callback=checked(_address),
    help="Whom of the mail the record stands for, where several have no record.",
)
@click.option(
    "--remember",
    is_flag=True,
    help="Let the address belong to the record from now on.",
)
@yes_option
@json_option
def resolve_unmatched(
    words: tuple[str, ...],
    person: str | None,
    *,
    remember: bool,
    yes: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Log unmatched messages on records of your choice.

    RECORD_ID is the id of a Contact, Lead, Account, Opportunity, Case or anything that
    takes activities. The messages are queued again; the worker logs them on these
    records, and on what their other people have by now. 'relay history undo' takes the
    choice back while nothing is written yet, 'relay undo' afterwards.
    """
    loaded = settings()
    ids, records = _sorted(words)
    if not records:
        problem = "name the record, by its 15 or 18 characters"
        raise click.UsageError(problem)
    slips = [word for word in records if record_id(word) is None]
    if slips and not ids:
        problem = (
            f"{slips[0]!r} is neither the id of a message, which begins with 01, nor "
            "that of a record, of 15 or 18 characters; case counts"
        )
        raise click.UsageError(problem)

    async def job() -> Resolved:
        async with open_store(loaded) as store, _need_org(loaded) as org:
            messages = await _chosen(store, ids, given, "resolve", yes=yes)
            return await unmatched_mail.resolve(
                *(store, org, at_shell(actor()), [one.id for one in messages]),
                records,
                address=person,
                remember=remember,
            )

    done = run(job())
    if as_json:
        print_json(
            {
                "id": ident,
                "records": [f"{one.object} {one.record_id}" for one in done.records],
                "remembered": list(done.remembered),
            }
            for ident in done.ids
        )
        return
    named = ", ".join(
        f"{one.object} {one.record_id} {clean(one.name)}".rstrip()
        for one in done.records
    )
    for ident in done.ids:
        click.echo(f"{ident} is queued, to be logged on {named}.")
    for key in done.remembered:
        click.echo(f"{clean(key)} belongs to {named} from now on.")


def _sorted(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return message ids and record ids, told apart by their form.

    Ids of messages begin with 01 for the next centuries, and have no capitals; no
    record that takes activities has an id like that.
    """
    ids = [word for word in words if word.startswith("01") and word == word.lower()]
    return ids, [word for word in words if word not in ids]


@unmatched.command("create")
@click.argument("ids", metavar="[ID]…", nargs=-1)
@filters
@click.option("--lead", "sobject", flag_value="Lead", help="Make Leads.")
@click.option("--contact", "sobject", flag_value="Contact", help="Make Contacts.")
@click.option("--account", metavar="ID", help="The Account of the Contacts.")
@click.option(
    "--for",
    "person",
    metavar="ADDRESS",
    callback=checked(_address),
    help="Make a record of this one alone.",
)
@yes_option
@json_option
def create_unmatched(
    ids: tuple[str, ...],
    sobject: str | None,
    account: str | None,
    person: str | None,
    *,
    yes: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Make Leads or Contacts of people without a record, and match their mail anew.

    Off unless match.unmatched_create is true. Duplicate rules of the org hold, its
    assignment rules do not: the record belongs to the user of the message.
    """
    loaded = settings()
    if sobject is None:
        problem = "say what to make: --lead or --contact"
        raise click.UsageError(problem)

    async def job() -> list[Created]:
        async with open_store(loaded) as store, _need_org(loaded) as org:
            directory = loaded.directory(await store.directory.load())
            if not unmatched_mail.may_create(loaded, directory):
                problem = (
                    "match.unmatched_create is false: relay settings set "
                    "match.unmatched_create true"
                )
                raise Failure(problem)
            messages = await _chosen(store, ids, given, "make records for", yes=yes)
            return await unmatched_mail.create(
                *(loaded, store, org, at_shell(actor()), messages, sobject),
                clock=SystemClock(),
                account=account,
                only=person or given["address"],
            )

    made = run(job())
    if as_json:
        print_json(one.as_json() for one in made)
    else:
        for one in made:
            said = f"{one.object} {one.id}".rstrip()
            why = f": {clean(one.detail)}" if one.detail else ""
            click.echo(f"{clean(one.address)}: {one.how} {said}{why}.")
    if any(one.how == "refused" for one in made):
        sys.exit(FAILED)


@unmatched.command("ignore")
@click.argument("ids", metavar="[ID]…", nargs=-1)
@filters
@click.option(
    "--whole-domain",
    is_flag=True,
    help="Leave out everybody in the domains, not these addresses alone.",
)
@click.option(
    "--org",
    "everybody",
    is_flag=True,
    help="Leave them out for all users, not only for those of the messages.",
)
@yes_option
@json_option
def ignore_unmatched(
    ids: tuple[str, ...],
    *,
    whole_domain: bool,
    everybody: bool,
    yes: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Leave the people of unmatched messages out from now on.

    Their addresses become exclusions, as 'relay exclude add' makes them; messages of
    which everybody is left out end as skipped. 'relay history undo' takes each back.
    """
    loaded = settings()
    only = given["address"] or (f"*@{given['domain']}" if given["domain"] else None)

    async def job() -> tuple[list[str], list[str]]:
        async with open_store(loaded) as store:
            messages = await _chosen(store, ids, given, "ignore", yes=yes)
            who = at_shell(actor())
            plan = await unmatched_mail.plan_ignore(
                *(store, who, messages),
                whole_domain=whole_domain,
                everybody=everybody,
                only=only,
            )
            for concern in plan.concerns:
                click.echo(f"Note: {clean(concern)}.", err=True)
            if plan.concerns and not yes:
                _confirm()
            done = await unmatched_mail.ignore(
                store, who, messages, plan, confirmed=True
            )
            return done, list(dict.fromkeys(pattern for pattern, _ in plan.rules))

    done, patterns = run(job())
    if as_json:
        print_json({"id": ident, "left_out": patterns} for ident in done)
        return
    whom = "everybody" if everybody else "the users of these messages"
    click.echo(f"Left out for {whom}: {', '.join(map(clean, patterns))}.")
    click.echo(f"{len(done)} of the messages are decided anew.")


def _confirm() -> None:
    if sys.stdin.isatty() and click.confirm("Leave them out all the same?", err=True):
        return
    problem = "nothing was left out; add --yes if it is meant so"
    raise Failure(problem)


@unmatched.command("rematch")
@click.argument("ids", metavar="[ID]…", nargs=-1)
@filters
@yes_option
@json_option
def rematch_unmatched(
    ids: tuple[str, ...], *, yes: bool, as_json: bool, **given: Any
) -> None:
    """Match unmatched messages anew, because records or rules have changed.

    The relay does so by itself for people who appear in Salesforce
    (match.rematch_s).
    """
    loaded = settings()

    async def job() -> list[str]:
        async with open_store(loaded) as store:
            messages = await _chosen(store, ids, given, "match anew", yes=yes)
            return await store.unmatched.requeue([one.id for one in messages], actor())

    done = run(job())
    if as_json:
        print_json({"id": ident} for ident in done)
        return
    click.echo(f"{len(done)} messages are queued to be matched anew.")


# ------------------------------------------------------------------ remembered


@unmatched.command("remembered")
@json_option
def list_remembered(*, as_json: bool) -> None:
    """List addresses that belong to a record because somebody said so."""
    loaded = settings()

    async def job() -> list[dict[str, Any]]:
        async with open_store(loaded) as store:
            return await unmatched_mail.remembered(store)

    rows = run(job())
    if as_json:
        print_json(rows)
        return
    table(
        ["address", "object", "id", "name", "by"],
        (
            [row[k] for k in ("address", "object", "id", "name", "added_by")]
            for row in rows
        ),
        whole=["address", "id"],
        empty="No address is remembered: relay unmatched resolve ID RECORD --remember",
    )


@unmatched.command("forget")
@click.argument("address")
def forget_remembered(address: str) -> None:
    """Let an address belong to no record any more."""
    loaded = settings()

    async def job() -> None:
        async with open_store(loaded) as store:
            await unmatched_mail.forget(store, address, actor())

    run(job())
    click.echo(f"{clean(address)} belongs to no record any more.")
