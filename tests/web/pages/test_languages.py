"""Every page, with much on it, in another language: no English is left.

A text of a page is English where it has a word of some English text of the product that
no translation has. What people, mails and Salesforce write is made without such words
here; keys, codes and addresses are passed over.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from html.parser import HTMLParser

import pytest
from sqlalchemy import update

from relay import app
from relay.config import load
from relay.core.alerts import AlertRule, Finding, Look
from relay.core.clock import SystemClock
from relay.core.directory import Role, SkipKind
from relay.core.model import Step
from relay.core.reminders import NewReminder
from relay.core.shared import Pause
from relay.core.states import Event
from relay.core.translate import texts
from relay.store import Store, schema
from relay.store.alerts import Telling
from tests.cli.conftest import CONFIG
from tests.cli.test_unmatched import SALESFORCE
from tests.fakes.served import served
from tests.languages.catalogues import ROOT
from tests.languages.sentences import files, sentences
from tests.languages.test_sentences import NUMBERS
from tests.web.pages.conftest import Console, put
from tests.web.pages.people import OWNER, add, end, person
from tests.web.pages.test_log import refuse
from tests.web.pages.test_reminders import BY, failing

pytestmark = pytest.mark.timeout(180)
NO_WORD = re.compile(
    r"'[^']*'|“[^”]*”|”[^”]*”|«[^»]*»|\S*[\w*][._@/:=]\w\S*|\b[A-Z]{2,}\b|"
    r"Acme Tools|Mara Lindqvist|[<(][^\s)>]*[>)…]|--\w+|GiB|Say <why>"
)
"""Keys, addresses, codes, what somebody has typed, and names of the sandbox."""
FIELDS = re.compile(r"%\(\w+\)s|\{\w*\}|`[^`]*`|\b\w+\.\w+")
AT = datetime(2026, 3, 1, 5, tzinfo=UTC)
DECISION = ("match/", "worker/", "outbox/", "sender/", "intake/", "store/log")
FIELD = re.compile(r"\{[a-z_0-9]+\}")
VALUES = ("Zeta", "7", "zeta@acme.example", "Epsilon")
FROM = b"From: ada@corp.example\r\nSubject: Oferta\r\n"
MAILS = (
    FROM + b"To: lindqvist@acme.example, nemo@nulla.example\r\n\r\nHola\r\n",
    FROM + b"To: bob@corp.example\r\n\r\nHola\r\n",
    FROM + b"To: nemo@nulla.example\r\n\r\n(ref: 003000000000001AAA)\r\n",
    FROM + b"To: lindqvist@acme.example\r\nPrecedence: bulk\r\n\r\nHola\r\n",
)


class Words(HTMLParser):
    """Gathers what people read of a page."""

    def __init__(self):
        super().__init__()
        self.found, self._skipped = [], 0

    def handle_starttag(self, tag, attrs):
        if tag in {"code", "script", "style", "svg", "textarea", "pre"}:
            self._skipped += tag != "svg"
        for name, value in attrs:
            if name in {"title", "aria-label", "placeholder", "alt", "data-confirm"}:
                self.found.append(value or "")

    def handle_endtag(self, tag):
        if tag in {"code", "script", "style", "textarea", "pre"}:
            self._skipped -= 1

    def handle_data(self, data):
        if not self._skipped and data.strip():
            self.found.append(" ".join(data.split()))


@cache
def english_words(language):
    """Return the words of all texts that stand in no translation."""
    sources, translations = set(), set()
    for text, forms in texts(language).forms.items():
        sources |= words_of(FIELDS.sub("", text))
        translations |= {word for form in forms for word in words_of(form)}
    return sources - translations


def words_of(text):
    return set(re.findall(r"[a-z]{3,}", text.lower()))


def english(page, language):
    """Return what is English on a page."""
    reader = Words()
    reader.feed(page)
    return [
        text
        for text in reader.found
        if words_of(NO_WORD.sub(" ", text)) & english_words(language)
    ]


def value_of(field):
    """Return a value for a field of a sentence."""
    return "7" if field[0] in NUMBERS else VALUES[len(field[0]) % len(VALUES)]


def decided():
    """Return every sentence that a decision may have, as its steps."""
    steps = []
    for path in files(ROOT):
        name = path.relative_to(ROOT / "relay").as_posix()
        if name.startswith(DECISION):
            for _, text in sentences(path):
                steps.append(FIELD.sub(value_of, text))
    return [Step(AT, "match", "none", one) for one in dict.fromkeys(steps)]


async def explained(console, user):
    """Return the decisions of some mails, by the real rules."""
    every = [await app.explain(console.settings, raw, user.email) for raw in MAILS]
    return [
        Step(AT, one["step"], one["result"], one["detail"])
        for found in every
        for one in found["trace"]
    ]


@pytest.fixture
async def console(tmp_path):
    """Pages of a relay that knows an org."""
    with served() as org:
        config = tmp_path / "relay.toml"
        text = CONFIG.format(folder=tmp_path) + SALESFORCE.format(url=org.url)
        config.write_text(text, "utf-8")
        settings = load(config, {})
        store = await Store.open(settings.store, SystemClock())
        made = Console(store, settings)
        yield made
        await made.close()
        await store.close()


@pytest.fixture
async def filled(console):
    """Fill the store with whatever pages show; return the paths and the admin."""
    store = console.store
    root, ada = await add(store, "Root", Role.ADMIN), await add(store, "Ada")
    bob = await add(store, "Bob")
    one = ada.user
    paths = []
    mara = person("lindqvist@acme.example", "Mara L.")
    nemo = person("nemo@nulla.example")
    for event, reason, detail, people in (
        (Event.NO_MATCH, "no_record", "", (mara, nemo)),
        (
            Event.NO_MATCH,
            "no_recipient",
            "the relay address is the only recipient that the mail names",
            (),
        ),
        (Event.RULED_OUT, "auto_reply", "", ()),
        (Event.RULED_OUT, "internal_only", "everybody in To and Cc is one of us", ()),
        (Event.PERMANENT, "FIELD_CUSTOM_VALIDATION_EXCEPTION", "Falta fecha", ()),
        (Event.PERMANENT, "ENTITY_IS_LOCKED", "", ()),
        (Event.PERMANENT, "unparsable", "", ()),
        (Event.TRANSIENT, "HTTP_503", "", ()),
        (Event.TRANSIENT, "no_salesforce_user", "", ()),
    ):
        id_ = await end(
            *(store, one, event, reason), subject="Oferta", detail=detail, people=people
        )
        paths.append(f"/log/{id_}")
        if event is Event.NO_MATCH:
            paths.append(f"/unmatched/{id_}")
    for trace in (decided(), await explained(console, one)):
        (id_,) = await put(store, one.id, "Oferta", trace=tuple(trace))
        paths.append(f"/log/{id_}")
    refused = await refuse(
        store,
        clock=console.clock,
        user_id=one.id,
        reply="",
        reason="sender_not_accepted",
        detail="no user has this relay address",
    )
    paths.append(f"/log/{refused}")
    # People, and what was changed.
    directory = store.directory
    await directory.add_address(one.id, "ada@gmail.com", "root")
    await directory.add_exclusion("*@nulla.example", None, SkipKind.MAIL, "root")
    await directory.remove_exclusion("*@nulla.example", None, "root")
    await directory.update_user(bob.user.id, {"role": Role.MONITOR}, "root")
    await directory.rotate_address(one.id, timedelta(days=1), "root")
    await directory.set_setting("match.several", "oldest", "root")
    number = (await store.history.find(limit=1))[0]["id"]
    # Reminders, one of which failed, and a sync that has stopped.
    ids = {"owner_user_id": root.user.id, "assignee_user_id": root.user.id}
    reminder = await store.reminders.add(NewReminder(**ids, name="Llamar"), BY)
    await failing(console, reminder)
    paths.append(f"/reminders/{reminder.id}")
    await store.reminder_sync.switch(
        root.user.id, "005000000000001AAA", "root", on=True
    )
    stopped = {
        "stopped": "brake",
        "stopped_text": "of 9 tasks, 8 were deleted in Salesforce and 0 here",
    }
    await store.context.write(
        lambda c: c.execute(update(schema.reminder_syncs).values(stopped))
    )
    # The org is paused, and alerts tell of it.
    org = str(console.settings.salesforce.instance_url).rstrip("/")
    until = AT + timedelta(hours=1)
    text = "Salesforce is not available; the relay tries again."
    await store.pauses.trip(org, OWNER, Pause(AT, until, "down", "HTTP_503", text), 0)
    facts = {"since": AT.isoformat(), "cause": text}
    every = Look(
        frozenset({AlertRule.CONNECTION}),
        (Finding(AlertRule.CONNECTION, org, facts),),
    )
    await store.alerts.take(
        every, lambda _, event: Telling({f"msg_{event}": "{}"}, {}), remind=None
    )
    paths += [
        *("/", "/log", "/unmatched", "/unmatched?search=on", "/people", "/people/new"),
        *("/people/import", "/people/exclusions", f"/people/{one.id}", "/diagnostics"),
        *("/history", f"/history/{number}", "/alerts", "/settings/salesforce"),
        *("/settings/salesforce?tab=bcc", "/settings/salesforce/check"),
        *("/settings/rules", "/settings/rules/match.several", "/account"),
        *("/settings/rules/preset/email-to-salesforce", "/reminders", "/reminders/all"),
        "/settings/rules/preset/inbox",
        *("/unmatched/remembered", "/reminders/calendar", "/diagnostics/check"),
        "/diagnostics/retry?code=ENTITY_IS_LOCKED",
    ]
    paths += [f"/settings/rules/{key}" for key in ("sender.policy", "log_by", "active")]
    await console.post("/diagnostics/check", root, data={})
    for _ in range(1000):
        shown = await console.get("/diagnostics/check", root)
        if "every 1s" not in shown.text:
            break
        await asyncio.sleep(0.02)
    return paths, root, ada


@pytest.mark.parametrize("language", ["sv", "fr"])
async def test_no_page_has_english_left(console, filled, language):
    """What lower rooms say is in the reader's language, whenever it was stored."""
    paths, root, _ = filled
    root = replace(root, user=replace(root.user, language=language))
    wrong = {}
    for path in paths:
        shown = await console.get(path, root)
        assert shown.status_code == 200, path
        if found := english(shown.text, language):
            wrong[path] = found
    assert not wrong, "\n".join(f"{k}: {v}" for k, v in wrong.items())


MISTAKES = [
    ("/log?q=nonsense:x", {}),
    ("/log?q=since:never", {}),
    ("/log?q=user:nobody@x.example", {}),
    ('/log?q="open', {}),
    ("/log/zzz", {}),
    ("/history?since=never", {}),
    ("/history/999999", {}),
    ("/unmatched?address=x", {}),
    ("/people?silent=x", {}),
    ("/people/999", {}),
    ("/reminders/zzz", {}),
    ("/settings/rules/none.such", {}),
    ("/diagnostics/retry?code=loop", {}),
    ("/people/new", {"name": "", "email": "x", "role": "rep"}),
    ("/people/new", {"name": "A", "email": "ada@corp.example", "role": "rep"}),
    ("/people/new", {"name": "A", "email": "a@b.example", "role": "king"}),
    ("/people/import", {"source": "csv", "csv": "x"}),
    ("/people/plan", {"source": "none"}),
    ("/reminders/add", {"name": "", "due": "3d"}),
    ("/reminders/add", {"name": "A", "due": "someday"}),
    ("/settings/rules/save", {"key": "match.several", "value": "x"}),
    ("/settings/rules/save", {"key": "match.contact_condition", "value": "("}),
    ("/settings/rules/save", {"key": "user.address_rules", "value": "x"}),
    ("/settings/rules/exclude", {"pattern": "x", "skip": "mail"}),
    ("/settings/rules/try", {"key": "match.several", "value": "all"}),
    ("/settings/salesforce/subject", {"template": "{{none}}"}),
    ("/settings/salesforce/own", {"way": "bcc"}),
    ("/diagnostics/retry", {"code": "ENTITY_IS_LOCKED", "count": "77"}),
    ("/unmatched/create", {"object": "x"}),
    ("/alerts/test", {}),
    ("/history/999999/undo", {}),
]


@pytest.mark.parametrize("language", ["sv", "es"])
async def test_no_mistake_is_told_in_english(console, filled, language):
    """What cannot be done is said on the page, or on the one that follows."""
    _, root, _ = filled
    root = replace(root, user=replace(root.user, language=language))
    wrong = {}
    for path, form in MISTAKES:
        posted = bool(form) or path.endswith(("/test", "/undo"))
        if posted:
            shown = await console.post(path, root, data=form)
        else:
            shown = await console.get(path, root)
        if shown.status_code == 303:
            shown = await console.get(shown.headers["location"], root)
        if found := english(shown.text, language):
            wrong[f"{path} {form}"] = found
    assert not wrong, "\n".join(f"{k}: {v}" for k, v in wrong.items())


async def test_english_would_be_seen(console, filled):
    """The test would fail on pages that are not translated."""
    paths, root, _ = filled
    root = replace(root, user=replace(root.user, language="en"))
    for path in paths:
        assert english((await console.get(path, root)).text, "sv"), path
