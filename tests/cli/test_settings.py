"""Settings that name parts of the org, asked there before they are saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay.salesforce import fits

if TYPE_CHECKING:
    from collections.abc import Callable

SALESFORCE = """\
[salesforce]
instance_url = "http://127.0.0.1:9"
client_id = "id"
client_secret = "secret"
"""
SET = ("settings", "set", "match.several", "oldest")


@pytest.fixture
def check(relay: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Return what puts a function in place of the check of match.several."""
    with relay.config.open("a") as config:
        config.write(SALESFORCE)

    def use(found: Any) -> None:
        monkeypatch.setitem(fits.CHECKS, "match.several", found)

    return use


def _several(relay: Any) -> str:
    return str(relay("settings", "get", "match.several").stdout.strip())


def test_a_value_that_does_not_fit_is_not_saved(relay: Any, check: Any) -> None:
    """The line says what the org lacks; the status is that of wrong usage."""

    async def wrong(_org: Any, value: Any) -> str:
        return f"there is no field {value}__c"

    check(wrong)
    said = relay.error(*SET, status=2)
    assert said == (
        "relay: match.several = oldest does not fit the org: there is no field "
        "oldest__c"
    )
    assert _several(relay) == "all"


def test_an_org_out_of_reach_saves_nothing_unasked(relay: Any, check: Any) -> None:
    """Nobody can say whether it fits; --unchecked saves it all the same."""

    async def ask(org: Any, _value: Any) -> str:
        await org.schema.get()
        return "the org answered"

    check(ask)
    said = relay.error(*SET, status=1)
    assert "was not changed: Salesforce cannot be asked" in said
    assert said.endswith("try again, or add --unchecked")
    assert _several(relay) == "all"
    relay(*SET, "--unchecked")
    assert _several(relay) == "oldest"


def test_without_an_org_nothing_is_asked(relay: Any) -> None:
    """A relay that is set up before its org takes what it is given."""
    relay("settings", "set", "match.several", "most_activity")
    assert _several(relay) == "most_activity"


def test_a_template_with_an_unknown_field_is_refused(relay: Any) -> None:
    """The line names those that there are; a good one holds at once, and none again."""
    key = "match.subject"
    said = relay.error("settings", "set", key, "[x] {{activity_sbject}}", status=2)
    assert "no field {{activity_sbject}}" in said
    assert "activity_subject, sales_campaign_name" in said
    relay("settings", "set", key, "[x] {{Activity_subject}}")
    shown = relay("settings", "get", key).stdout
    assert shown.strip() == "[x] {{Activity_subject}}"
    relay("settings", "set", key, "")
    relay("settings", "set", "match.kinds", "mails,replies")
    assert relay("settings", "get", "match.kinds").stdout.split() != []
    said = relay.error("settings", "set", "match.kinds", "calls", status=2)
    assert "match.kinds" in said
