"""What becomes of a mail: whom to look up, on which records it goes, what is written.

`ask` says whom to look up in Salesforce, or why not; `decide` turns what Salesforce
holds into records, each with its rule, and their drafts. Both are pure. The rules
stand in `plan` (whom to look for) and `choose` (which records), a function for each.
Asking Salesforce is left to `relay.salesforce`, the fields of records to
`relay.activity`.
"""

from relay.match.choose import Opportunities, Several, choose, missing, records_of
from relay.match.decide import (
    ask,
    decide,
    drafts,
    logged_elsewhere,
    owner_of,
    owners_of,
    rep_of,
    trace_of,
    waiting_for_user,
    with_earlier,
)
from relay.match.facts import (
    Answers,
    Context,
    Decision,
    MailFacts,
    Question,
    Redraft,
    Rules,
    with_stored,
)
from relay.match.logged import Logged, direction, part_of, to_log
from relay.match.plan import LeftOut, OurAddresses, Plan, Verdict, exclusions_of, plan
from relay.match.trace import TraceLine, rule_line

__all__ = [
    "Answers",
    "Context",
    "Decision",
    "LeftOut",
    "Logged",
    "MailFacts",
    "Opportunities",
    "OurAddresses",
    "Plan",
    "Question",
    "Redraft",
    "Rules",
    "Several",
    "TraceLine",
    "Verdict",
    "ask",
    "choose",
    "decide",
    "direction",
    "drafts",
    "exclusions_of",
    "logged_elsewhere",
    "missing",
    "owner_of",
    "owners_of",
    "part_of",
    "plan",
    "records_of",
    "rep_of",
    "rule_line",
    "to_log",
    "trace_of",
    "waiting_for_user",
    "with_earlier",
    "with_stored",
]
