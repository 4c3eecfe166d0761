"""Notices: mails of the relay to its users, through a smarthost.

`planner` reads what happened and plans who is told, `letters` has a template for each
kind, `smarthost` speaks SMTP (and fetches the token of XOAUTH2), `service` sends what
is due. A notice goes to a user's own address, or to an address that somebody is proving
to be theirs; never to what a mail says of its sender. It is automatic mail by RFC 3834:
it comes from the null sender, says that it is automatic, and answers no automatic mail.
Left to others: what happened (`intake`, `worker`), and the tables (`store`).
"""

from relay.notices.planner import ClaimNotices, Planner, sign_in_link
from relay.notices.service import NoticeService
from relay.notices.smarthost import Rest, Smarthost, SmarthostError

__all__ = [
    "ClaimNotices",
    "NoticeService",
    "Planner",
    "Rest",
    "Smarthost",
    "SmarthostError",
    "sign_in_link",
]
