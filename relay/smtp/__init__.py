"""The SMTP door: the dialogue with peers, whose mails go to `relay.intake`.

`server` listens and drains, `session` has a method for each verb, `wire` is the
connection below it, on aiosmtpd. `listener`, `tls` and `proxy` say how a connection was
made, `connections` and `limits` how much a peer may ask for, `auth` checks logins,
`envelope` is the grammar of addresses, `data` knows where content ends, and `replies`
is the table of everything that is said. What is accepted is decided in `relay.intake`.
"""

from relay.smtp.server import SMTPServer

__all__ = ["SMTPServer"]
