"""Each rule of the activity subject and of the kinds that are logged, by its number.

One relay, which writes Tasks into one org over HTTP; each case sets what it is about.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.fakes.processes import (
    RelayProcess,
    SandboxProcess,
    mail_to,
    wait_for,
)
from tests.fakes.smarthost import running_smarthost
from tests.web import test_reminders
from tests.web.pages import test_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fakes.smarthost import Smarthost

pytestmark = pytest.mark.timeout(120)

ADA, BEN = "ada@corp.example", "ben@corp.example"
ANNA, LEO = "anna@customer.example", "leo@lead.example"
PLACE = "emailtosalesforce@abc.in.salesforce.com"
SUBJECT, KINDS = "match.subject", "match.kinds"
CASES: dict[str, Callable[[Stage], None]] = {}
ON_A_PAGE = {
    "D1": test_settings.test_a_template_is_shown_before_it_is_saved,
    "D10": test_settings.test_replies_are_offered_with_the_api_alone,
    "D21": test_reminders.test_a_rep_has_what_is_the_reps_own,
}
"""What a person sees of these, or is refused, is tested where they see it."""


def case(rule: str) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Add a case for a rule to the table."""

    def add(function: Callable[[Stage], None]) -> Callable[[Stage], None]:
        CASES[f"{rule} {function.__name__}"] = function
        return function

    return add


class Stage:
    """Ada and Ben, a Contact and a Lead; Salesforce shows the field Type."""

    def __init__(self, relay: RelayProcess, sandbox: SandboxProcess) -> None:
        """Add them and start the relay."""
        self.relay, self.sandbox = relay, sandbox
        sandbox.post("/sandbox/config", {"hidden_fields": {}})
        self.anna = sandbox.person("Contact", ANNA)
        self.leo = sandbox.person("Lead", LEO)
        self.address = {each: relay.add_user(each, each) for each in (ADA, BEN)}
        self.users = {row["Username"]: row["Id"] for row in sandbox.rows("User")}
        for each in (ADA, BEN):
            relay.run("user", "set", each, "--salesforce-id", self.users[each])
        relay.start()

    def set(self, key: str, value: str | None) -> None:
        """Change a setting, and wait until it holds."""
        self.relay.run("settings", *(("set", key, value) if value else ("unset", key)))
        self.relay.heed()

    def task(self, ident: str) -> dict[str, Any]:
        """Return the one Task of a mail, once it is logged."""
        row = self.relay.settled(ident)
        assert row["state"] == "logged", row
        (record,) = row["records"]
        (found,) = (r for r in self.sandbox.rows("Task") if r["Id"] == record["id"])
        return found

    def mail(self, subject: str, to: str = ANNA) -> dict[str, Any]:
        """Send a mail of Ada's; return its Task."""
        mail = mail_to(to, Subject=subject)
        return self.task(self.relay.send(mail, self.address[ADA]))

    def reply(self, subject: str, author: str = ANNA) -> str:
        """Forward a reply of a customer as an attachment; return the message's id."""
        theirs = mail_to(ADA, From=author, Subject=subject)
        theirs["In-Reply-To"] = "<offer@corp.example>"
        forward = mail_to(self.address[ADA], Subject="Fwd: see")
        forward.add_attachment(theirs)
        return self.relay.send(forward, self.address[ADA])

    def reminders(self) -> dict[str, dict[str, Any]]:
        """Return the Tasks of reminders by Subject."""
        rows = self.sandbox.rows("Task")
        return {r["Subject"]: r for r in rows if "relay-key: reminder-" in str(r)}

    def remind(self, name: str, subject: str, *options: str) -> dict[str, Any]:
        """Make a reminder of Ada's; return its Task, once it has this Subject."""
        self.relay.run("reminder", "add", name, "--user", ADA, *options)
        found: dict[str, Any] = wait_for(
            lambda: self.reminders().get(subject), message=f"the Task {subject}"
        )
        return found


@pytest.fixture(scope="module")
def host() -> Iterator[Smarthost]:
    """Run a smarthost."""
    with running_smarthost() as server:
        yield server


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, host: Smarthost) -> Iterator[Stage]:
    """Run an org and a relay for all cases."""
    folder = tmp_path_factory.mktemp("rules")
    sandbox = SandboxProcess(folder)
    relay = RelayProcess(
        folder / "relay",
        sandbox.url,
        salesforce__write_as="task",
        reminders__poll_s=1.0,
        reminders__idle_poll_s=1.0,
        reminders__push_s=0.5,
        notices__smarthost=f"127.0.0.1:{host.port}",
        notices__tls="none",
        notices__from_address="relay@corp.example",
        notices__level="none",
        notices__digest=False,
    )
    try:
        yield Stage(relay, sandbox)
    finally:
        if relay.process and relay.process.running:
            relay.kill()
        sandbox.stop()


@pytest.fixture
def stage(world: Stage) -> Iterator[Stage]:
    """Give a case the org and the relay, with the settings of a new one."""
    yield world
    for key in (SUBJECT, KINDS):
        world.set(key, None)


# ------------------------------------------------------------------ the subject


@case("D1")
def a_template_is_for_what_goes_by_the_api(stage: Stage) -> None:
    """Set while the relay runs; without it a mail has its own subject."""
    assert stage.mail("Offer D1")["Subject"] == "Offer D1"
    stage.set(SUBJECT, "[Sales] {{activity_subject}}")
    assert stage.mail("Offer D1")["Subject"] == "[Sales] Offer D1"


@case("D2")
def it_shapes_mails_and_reminders(stage: Stage) -> None:
    """Free text stays, fields are filled."""
    stage.set(SUBJECT, "CRM - {{activity_type}} - {{activity_subject}}")
    stage.relay.run("reminder", "sync", "on", ADA)
    assert stage.mail("Offer D2")["Subject"] == "CRM - Email - Offer D2"
    made = stage.remind("Ring D2", "CRM - Call - Ring D2", "--type", "call")
    assert made["OwnerId"] == stage.users[ADA]


@case("D3")
def all_fields_are_known(stage: Stage) -> None:
    """Any other is refused, with those that there are."""
    fields = [
        *("activity_type", "activity_subject"),
        *("sales_campaign_name", "sales_campaign_day", "sales_campaign_step"),
        *("call_outcome", "call_reason"),
    ]
    stage.set(SUBJECT, " ".join("{{" + each + "}}" for each in fields))
    assert stage.mail("Offer D3")["Subject"] == "Email Offer D3"
    refused = stage.relay.run("settings", "set", SUBJECT, "{{stage}}", status=2)
    for each in fields:
        assert each.encode() in refused.stderr


@case("D4")
def a_field_without_a_value_leaves_nothing(stage: Stage) -> None:
    """No placeholder, and no blanks around it."""
    template = "[x] {{call_reason}} {{activity_subject}} {{sales_campaign_name}}"
    stage.set(SUBJECT, template)
    assert stage.mail("Offer D4")["Subject"] == "[x] Offer D4"


@case("D5")
def line_breaks_are_removed(stage: Stage) -> None:
    """Those of a folded header, of an encoded word, and of the template."""
    stage.set(SUBJECT, "A:\n{{activity_subject}}")
    for written in (b"Two\r\n lines D5", b"=?utf-8?q?Two=0D=0Alines_D5?="):
        raw = mail_to(ANNA, Subject="Folded").as_bytes().replace(b"Folded", written)
        ident = stage.relay.send(raw, stage.address[ADA])
        assert stage.task(ident)["Subject"] == "A: Two lines D5"


@case("D6")
def the_result_is_cut_to_255_characters(stage: Stage) -> None:
    """The result, not the subject that goes into it."""
    stage.set(SUBJECT, "[long] {{activity_subject}}")
    subject = stage.mail("Offer D6 " + "x" * 300)["Subject"]
    assert subject.startswith("[long] Offer D6 xxx")
    assert 250 <= len(subject) <= 255


@case("D7")
def replies_bypass_the_template(stage: Stage) -> None:
    """A mail that Ada sends is none, whatever its subject."""
    stage.set(SUBJECT, "[Sales] {{activity_subject}}")
    assert stage.task(stage.reply("Re: D7"))["Subject"] == "Reply: Re: D7"
    assert stage.mail("Re: D7 again")["Subject"] == "[Sales] Re: D7 again"


@case("D8")
def names_are_read_in_any_case(stage: Stage) -> None:
    """As the page that explains them writes one of them."""
    stage.set(SUBJECT, "{{Activity_type}}: {{ ACTIVITY_SUBJECT }}")
    assert stage.mail("Offer D8")["Subject"] == "Email: Offer D8"


@case("D9")
def a_marker_can_be_searched_for(stage: Stage) -> None:
    """That is what it is for: a report needs no field of its own."""
    stage.set(SUBJECT, "[D9] {{activity_subject}}")
    ids = {stage.mail(f"Offer {number}")["Id"] for number in range(2)}
    query = quote("SELECT Id FROM Task WHERE Subject LIKE '[D9] %'")
    found = stage.sandbox.call("GET", f"/query?q={query}")
    assert {row["Id"] for row in found["records"]} == ids


# ------------------------------------------------------------------ replies and Type


@case("D10")
def replies_can_be_left_out(stage: Stage) -> None:
    """They are then skipped with a reason; mails go on."""
    stage.set(KINDS, "mails,reminders")
    row = stage.relay.settled(stage.reply("Re: D10"))
    assert (row["state"], row["reason"]) == ("skipped", "kind_not_logged")
    assert stage.mail("Offer D10")["WhoId"] == stage.anna


@case("D11")
def replies_follow_the_rules_of_mail(stage: Stage) -> None:
    """To a Contact or a Lead; and what matches nobody waits for a person."""
    assert stage.task(stage.reply("Re: D11", ANNA))["WhoId"] == stage.anna
    assert stage.task(stage.reply("Re: D11 lead", LEO))["WhoId"] == stage.leo
    row = stage.relay.settled(stage.reply("Re: D11", "who@else.example"))
    assert (row["state"], row["reason"]) == ("unmatched", "no_record")
    twins = [stage.sandbox.person("Contact", "two@d11.example") for _ in range(2)]
    mail = mail_to("two@d11.example", Subject="D11 mail")
    by_mail = stage.relay.settled(stage.relay.send(mail, stage.address[ADA]))
    by_reply = stage.relay.settled(stage.reply("Re: D11 two", "two@d11.example"))
    assert by_mail["state"] == by_reply["state"]
    chosen = [
        [r["WhoId"] for r in stage.sandbox.rows("Task") if r["Subject"] == subject]
        for subject in ("D11 mail", "Re: D11 two")
    ]
    assert chosen[0] == chosen[1]
    assert set(chosen[0]) <= set(twins)


@case("D12")
def type_is_set_where_the_picklist_has_the_word(stage: Stage) -> None:
    """Email is there, Reply is not; a reminder gets none."""
    stage.relay.run("reminder", "sync", "on", ADA)
    assert stage.mail("Offer D12")["Type"] == "Email"
    assert stage.task(stage.reply("Re: D12"))["Type"] is None
    assert stage.remind("Ring D12", "Ring D12", "--type", "call")["Type"] is None


@case("D13")
def a_copy_by_bcc_is_left_as_it_is(stage: Stage) -> None:
    """Salesforce gives it its Type: the relay sets none, and no subject either."""
    stage.set(SUBJECT, "[Sales] {{activity_subject}}")
    relay, before = stage.relay, len(stage.sandbox.rows("Task"))
    relay.run("user", "logging", BEN, "--by", "bcc", "--address", PLACE)
    relay.heed()
    mail = mail_to(ANNA, From=BEN, Subject="Offer D13")
    ident = relay.send(mail, stage.address[BEN], sender=BEN)
    assert relay.settled(ident)["state"] == "logged"
    relay.run("user", "logging", BEN, "--by", "api")
    relay.heed()
    assert len(stage.sandbox.rows("Task")) == before


@case("D14")
def admins_choose_the_kinds(stage: Stage) -> None:
    """A reminder gets its Task once its kind is chosen again; mail goes one way."""
    stage.relay.run("reminder", "sync", "on", ADA)
    stage.set(KINDS, "reminders")
    ident = stage.relay.send(mail_to(ANNA, Subject="D14"), stage.address[ADA])
    row = stage.relay.settled(ident)
    assert (row["state"], row["reason"]) == ("skipped", "kind_not_logged")
    stage.remind("Ring D14", "Ring D14")
    stage.set(KINDS, "mails")
    stage.relay.run("reminder", "add", "Later D14", "--user", ADA)
    logged = stage.mail("One way D14")
    path = f"/sobjects/Task/{logged['Id']}"
    stage.sandbox.call("PATCH", path, {"Subject": "Changed there"})
    assert "Later D14" not in stage.reminders()
    stage.set(KINDS, None)
    stage.remind("Now D14", "Now D14")
    wait_for(lambda: "Later D14" in stage.reminders(), message="the Task")
    names = {each["name"] for each in stage.relay.json("reminder", "list")}
    assert not names & {"One way D14", "Changed there"}


@case("D21")
def a_reminder_has_a_type_a_person_and_an_assignee(stage: Stage) -> None:
    """A team mate gets one about a shared Contact."""
    stage.relay.run("reminder", "sync", "on", ADA)
    stage.relay.run("reminder", "sync", "on", BEN)
    options = ("--type", "inmail", "--due", "3d", "--priority", "high")
    person = ("--assignee", BEN, "--person", stage.anna, "--details", "Soon")
    task = stage.remind("Ring D21", "Ring D21", *options, *person)
    assert (task["OwnerId"], task["WhoId"]) == (stage.users[BEN], stage.anna)
    assert (task["Priority"], task["Type"]) == ("High", None)
    assert str(task["Description"]).startswith("Soon")
    (made,) = (r for r in stage.relay.json("reminder", "list")
               if r["name"] == "Ring D21")  # fmt: skip
    assert (made["type"], made["assignee"]) == ("InMail", BEN)


@pytest.mark.parametrize("name", CASES)
def test_rule(stage: Stage, host: Smarthost, name: str) -> None:
    """The rule that the name begins with."""
    sent = len(host.mails)
    CASES[name](stage)
    subjects = [str(mail["Subject"]) for mail in host.messages[sent:]]
    assert subjects == (["Offer D13"] if name.startswith("D13 ") else [])


def test_every_rule_has_a_case() -> None:
    """D1 to D14 and D21, none left out; some are seen on a page or by API, too."""
    covered = {name.partition(" ")[0] for name in CASES}
    assert covered == {f"D{number}" for number in (*range(1, 15), 21)}
    for rule, test in ON_A_PAGE.items():
        assert re.search(rf"\b{rule}\b", str(inspect.getdoc(test)))
