"""Whether a setting fits the org: the fields, objects and conditions that it names.

A check asks the org about the value of one setting and returns what is wrong, or an
empty text; it lets RelayError pass where the org cannot be asked. `relay settings set`
makes it before it saves, `relay check` for what holds now. To add one: write the
function, and name it in `CHECKS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.config.match import AUTO, MatchSettings
from relay.core.match_rules import read_field_rule
from relay.salesforce import people
from relay.salesforce.lookup_rules import (
    TARGETS,
    account_problem,
    automatic,
    field_named,
    problem,
    resolve,
    rule_problem,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from relay.core.model import Json
    from relay.salesforce.org import Org

    Check = Callable[[Org, Json], Awaitable[str]]


async def counts_activities(org: Org, value: Json) -> str:
    """Say why activities cannot be counted, where a rule counts them."""
    if value != "most_activity":
        return ""
    schema = await org.schema.get(also=("Event",))
    hidden = [name for name in ("Task", "Event") if not schema.has(name)]
    if not hidden:
        return ""
    return f"the integration user may not read {' and '.join(hidden)}"


def holds_addresses(sobject: str) -> Check:
    """Return the check of a list of fields of an object that hold addresses."""

    async def check(org: Org, value: Json) -> str:
        schema = await org.schema.get()
        if not schema.has(sobject):
            return f"the integration user may not read {sobject}"
        for name in value:
            if name == AUTO and not automatic(sobject, schema):
                return f"{sobject} has no field of type e-mail that can be looked up"
            if name != AUTO and (text := problem(field_named(schema, sobject, name))):
                return f"{sobject}.{name} {text}"
        return ""

    return check


def finds_records(targets: tuple[str, ...]) -> Check:
    """Return the check of rules for further records.

    Args:
        targets: Objects that the fields are to look up; empty: they hold an address.
    """

    async def check(org: Org, value: Json) -> str:
        rules = [read_field_rule(text) for text in value]
        schema = await org.schema.get(also=[rule.object for rule in rules])
        texts = (rule_problem(rule, schema, targets=targets) for rule in rules)
        return next(filter(None, texts), "")

    return check


async def finds_accounts(org: Org, value: Json) -> str:
    """Say which way to an Account there is not."""
    schema = await org.schema.get()
    return next(filter(None, (account_problem(way, schema) for way in value)), "")


def holds_for(sobject: str) -> Check:
    """Return the check of a condition for records of an object.

    It is asked as the look-ups ask it: in the same place of the same query.
    """

    async def check(org: Org, value: Json) -> str:
        schema = await org.schema.get()
        if not schema.has(sobject):
            return f"the integration user may not read {sobject}"
        match = MatchSettings.model_validate({f"{sobject.lower()}_condition": value})
        asks = people.condition_asks(sobject, resolve(match, schema))
        return await org.lookup.refusal(asks)

    return check


async def tells_access(org: Org, value: Json) -> str:
    """Say why Salesforce does not tell what a user can read, where a rule asks."""
    if value != "user":
        return ""
    me = await org.access.me()
    return await org.lookup.refusal(people.access_asks(me, [me]))


CHECKS: Final[dict[str, Check]] = {
    "match.several": counts_activities,
    "match.contact_email_fields": holds_addresses("Contact"),
    "match.lead_email_fields": holds_addresses("Lead"),
    "match.contact_condition": holds_for("Contact"),
    "match.lead_condition": holds_for("Lead"),
    "match.opportunity_condition": holds_for("Opportunity"),
    "match.account_condition": holds_for("Account"),
    "match.accounts": finds_accounts,
    "match.lookups": finds_records(TARGETS),
    "match.more_objects": finds_records(()),
    "match.visibility": tells_access,
}
"""By the key of a setting: its check against the org."""


async def problem_of(org: Org, key: str, value: Json) -> str:
    """Return what speaks against a value in this org; empty where it fits.

    A value that asks for nothing (an empty text or list, false) always fits.

    Raises:
        RelayError: The org could not be asked.
    """
    check = CHECKS.get(key)
    return await check(org, value) if check and value else ""


async def problems_of(org: Org, values: Mapping[str, Json]) -> list[tuple[str, str]]:
    """Return (key, problem) of the settings that do not fit, in their order.

    Raises:
        RelayError: The org could not be asked.
    """
    found = [(key, await problem_of(org, key, value)) for key, value in values.items()]
    return [(key, problem) for key, problem in found if problem]
