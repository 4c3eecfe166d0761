"""The intake: mail arrives over SMTP, is judged, and is safe before `250` is said.

`server` listens, limits and drains; `session` has one method for each verb, `content`
those that take mail, `lmtp` and `submission` what is theirs alone; `wire` is the
connection below, on aiosmtpd, `listener`, `tls` and `proxy` how it was made; `inbox`,
`data`, `chunks` and `body` carry bytes in bounded memory; `auth` knows who logs in,
`envelope` is the grammar of addresses, `policy` what is taken, `transaction`
the way of one mail to its reply, `replies` the table of what is said, and `journal`
keeps every refusal. What a mail means is read elsewhere; here only its header is
looked at.
"""

from relay.smtp.server import SMTPServer

__all__ = ["SMTPServer"]
