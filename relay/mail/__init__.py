"""Reading: the bytes of a mail become an `Email`, whatever the bytes are.

The way through: `fields` finds the header fields, `parts` the parts of the MIME tree,
`params` reads their parameters, `decode` their content, `body` makes text of them
(`html` where there is no plain text), `addresses` and `words` read what people wrote
into header fields, `dates` and `identity` do what their names say, `automatic` tells
mail that no person wrote, and `reader` puts the value together.

Promises: any bytes give an `Email` or `UnparsableMessage`; the time taken grows with
the size of the mail and no faster; text that leaves here has no NUL, no control
characters but tab and newline, and no lone surrogates. Who may send, whom a mail
concerns and what is written about it is decided elsewhere. No I/O.
"""

from relay.core.masking import masked
from relay.mail.addresses import mailboxes
from relay.mail.automatic import kind_of, recognise
from relay.mail.decode import decoded
from relay.mail.fields import header_fields
from relay.mail.identity import content_keys
from relay.mail.reader import parse
from relay.mail.words import decode_header

__all__ = [
    "content_keys",
    "decode_header",
    "decoded",
    "header_fields",
    "kind_of",
    "mailboxes",
    "masked",
    "parse",
    "recognise",
]
