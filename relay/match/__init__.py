"""Who is in a mail, and which Salesforce records it belongs to. Pure.

`plan` says whom to look for, or why nobody is looked for; `choose` turns what
Salesforce holds into the records that the mail is logged on, each with the rule that
chose it; `missing` leaves out what is done. Asking Salesforce is left to
`relay.salesforce`, drafting to `relay.activity`.
"""

from relay.match.choose import Several, choose, missing
from relay.match.plan import Plan, plan, together

__all__ = ["Plan", "Several", "choose", "missing", "plan", "together"]
