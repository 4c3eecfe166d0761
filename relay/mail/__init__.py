"""Reading: the bytes of a mail become an `Email`, whatever the bytes are.

The way through: `fields` finds the header fields, `parts` the parts of the MIME tree
(`smime` those that are wrapped up), `params` reads their parameters, `decode` their
content, `body` makes text and files of them (with `html`, `flowed`, `images`, `tnef`
and `rtf`), `addresses`, `words` and `charsets` read what people wrote into header
fields, `dates` and `identity` do what their names say, `automatic` tells mail that no
person wrote, `forward` reads the mail that is forwarded in a text (with the words of
`forward_labels`, the dates of `local_dates` and the page by `forward_page`), `formats`
knows what is no mail, and `reader` puts the value together. `quotes` takes the history
off a reply.

Promises: any bytes give an `Email` or `UnparsableMessage`; the time taken grows with
the size of the mail and no faster; text that leaves here has no NUL, no control
characters but tab and newline, and no lone surrogates. Who may send, whom a mail
concerns and what is written about it is decided elsewhere. No I/O.
"""

from relay.core.masking import masked
from relay.mail.addresses import mailboxes
from relay.mail.automatic import kind_of, recognise
from relay.mail.copies import content_of
from relay.mail.decode import decoded
from relay.mail.fields import header_fields
from relay.mail.identity import content_keys
from relay.mail.quotes import own_words, without_quotes
from relay.mail.reader import keys_of, parse
from relay.mail.words import decode_header

__all__ = [
    "content_keys",
    "content_of",
    "decode_header",
    "decoded",
    "header_fields",
    "keys_of",
    "kind_of",
    "mailboxes",
    "masked",
    "own_words",
    "parse",
    "recognise",
    "without_quotes",
]
