"""The intake: mail arrives over SMTP, is judged, and is safe before `250` is said.

`server` listens, limits and drains; `session` has one method for each verb; `wire` is
the connection below it, on aiosmtpd; `inbox`, `data` and `body` carry bytes in bounded
memory; `envelope` is the grammar of addresses, `policy` what is taken, `transaction`
the way of one mail to its reply, `replies` the table of what is said, and `journal`
keeps every refusal. What a mail means is read elsewhere; here only its header is
looked at.
"""

from relay.smtp.server import Intake
from relay.smtp.sink import Sink

__all__ = ["Intake", "Sink"]
