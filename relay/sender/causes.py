"""The catalogue of causes: why a mail is refused or held, each with its number.

A cause has a number for programs (`S…`), a word for the log and the metrics, a sentence
that says which check failed by which section of which RFC, and a mend for the person
who sent the mail. No mend ever advises to accept another address: the author of a mail
that is refused may be a stranger, and who reads the advice may be somebody else.

S1..: who the mail says it is from. S2..: whether that is proven. S3..: what was proven
once and is used again. S4..: what cannot be known now. Numbers and words are a
contract: a cause that goes leaves its number unused. `docs/sender.md` has the table,
and a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.core.translate import IN_ENGLISH, N_

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.model import Json
    from relay.core.translate import Texts


@dataclass(frozen=True, slots=True)
class Cause:
    """One row of the catalogue.

    `sentence` and `mend` may have the fields `{address}`, `{domain}` and `{detail}`.
    `enhanced` is the status code of a permanent refusal (RFC 3463, RFC 7372); where a
    cause is temporary, its first digit is 4. `source` is the section that asks for it.
    """

    number: str
    reason: str
    enhanced: str
    source: str
    sentence: str
    mend: str

    @property
    def temporary(self) -> bool:
        """Say whether another attempt may come to another result."""
        return self.enhanced.startswith("4")

    def text(
        self, *, address: str = "", detail: str = "", texts: Texts = IN_ENGLISH
    ) -> str:
        """Return sentence and mend for the person who sent the mail.

        Between them stand the number and the section whose check failed, for the
        administrator whom they ask.
        """
        values = {
            "address": address[:LONGEST_SHOWN],
            "domain": address.rpartition("@")[2][:LONGEST_SHOWN],
            "detail": detail[:LONGEST_SHOWN],
        }
        section = self.source.partition(",")[0]
        sentence, mend = texts(self.sentence), texts(self.mend)
        return f"{sentence} ({self.number}, {section}); {mend}".format_map(values)

    @property
    def plain(self) -> str:
        """Return sentence and mend with their fields as words, for lists."""
        words = {"address": "ADDRESS", "domain": "DOMAIN", "detail": "DETAIL"}
        return f"{self.sentence.format_map(words)}; {self.mend.format_map(words)}"

    def as_json(self) -> dict[str, str]:
        """Return the stable names that `relay sender causes --json` prints."""
        return {
            "cause": self.number,
            "reason": self.reason,
            "enhanced": self.enhanced,
            "source": self.source,
            "text": self.plain,
        }


LONGEST_SHOWN: Final = 120
"""Characters of a value in a text: two of them must fit a reply line."""

_OWN_SERVER: Final = N_(
    "send it through the mail server of {domain}, as you send your other mail"
)
_OWN_SERVER_SIGN: Final = N_(
    "send it through the mail server of {domain}, as you send your other mail; if you "
    "did, ask its administrator to sign with DKIM"
)
_RELEASE: Final = N_("it waits until you or your administrator release it")

_ROWS: Final = (
    # ------------------------------------------------ who the mail says it is from
    Cause(
        "S101",
        "no_from",
        "5.7.1",
        "RFC 5322 section 3.6.2",
        N_("The From line of this mail holds no address that can be read"),
        N_("send it again from your own address"),
    ),
    Cause(
        "S102",
        "several_from",
        "5.7.1",
        "RFC 5322 section 3.6.2",
        N_("This mail names several senders in From"),
        N_("send it from one address only"),
    ),
    Cause(
        "S103",
        "from_too_long",
        "5.7.1",
        "RFC 5322 section 2.1.1",
        N_("The From line of this mail is too long"),
        N_("send it again from your own address alone"),
    ),
    Cause(
        "S104",
        "from_group",
        "5.7.1",
        "RFC 6854 section 4",
        N_("The From line of this mail names a group instead of a person"),
        N_("send it again from your own address"),
    ),
    Cause(
        "S105",
        "from_unclear",
        "5.7.1",
        "RFC 5322 section 3.4",
        N_("The From line of this mail can be read in two ways ({detail})"),
        N_("send it again with your name and your address alone"),
    ),
    Cause(
        "S106",
        "sender_not_accepted",
        "5.7.1",
        "RFC 5321 section 7.9",
        N_("Mail from {address} is not accepted at this relay address"),
        N_(
            "it takes mail from its owner alone: if you are the owner, send from one "
            "of your registered addresses; if you replied to all, leave this address "
            "out"
        ),
    ),
    Cause(
        "S107",
        "sender_looks_alike",
        "5.7.1",
        "RFC 5890 section 4.4",
        N_(
            "The sender {address} is written with letters of several scripts, and is "
            "not the address that it looks like"
        ),
        N_("send it from your registered address"),
    ),
    # ------------------------------------------------ whether that is proven
    Cause(
        "S201",
        "no_proof",
        "5.7.26",
        "RFC 9989 section 4.4, RFC 7372 section 3.4",
        N_(
            "Nothing proves that {address} sent this mail: it has no DKIM signature, "
            "and SPF has no result for {domain}"
        ),
        _OWN_SERVER_SIGN,
    ),
    Cause(
        "S202",
        "spf_other_domain",
        "5.7.26",
        "RFC 7208 section 2.4",
        N_("SPF passed for {detail} and not for {domain}, the domain in From"),
        N_(
            "send it through the mail server of {domain}, as you send your other mail;"
            " if you did, ask its administrator to switch on DKIM"
        ),
    ),
    Cause(
        "S203",
        "dkim_other_domain",
        "5.7.22",
        "RFC 6376 section 6.3, RFC 7372 section 3.1",
        N_("This mail is signed by {detail} and not by {domain}, the domain in From"),
        N_(
            "send it through the mail server of {domain}, as you send your other mail;"
            " if you did, ask its administrator to sign with {domain}"
        ),
    ),
    Cause(
        "S204",
        "dkim_partial_body",
        "5.7.21",
        "RFC 6376 section 8.2",
        N_(
            "The DKIM signature of {domain} covers only a part of the text (l=), so "
            "that anybody could have added to it"
        ),
        N_("ask the administrator of {domain} to sign without l="),
    ),
    Cause(
        "S205",
        "dkim_not_covered",
        "5.7.21",
        "RFC 6376 section 5.4",
        N_(
            "The DKIM signature of {domain} does not cover {detail}, so that anybody "
            "could have changed it"
        ),
        N_(
            "it waits until you or your administrator release it; ask the "
            "administrator of {domain} to sign these fields too"
        ),
    ),
    Cause(
        "S206",
        "header_repeated",
        "5.7.21",
        "RFC 5322 section 3.6, RFC 6376 section 8.15",
        N_("This mail has {detail} twice, and the DKIM signature covers one of them"),
        N_(
            "send it again; if it happens again, a server on the way adds the second "
            "one"
        ),
    ),
    Cause(
        "S207",
        "dkim_failed",
        "5.7.20",
        "RFC 6376 section 6.1",
        N_("The DKIM signature of {domain} does not fit this mail ({detail})"),
        N_("send it again; if it happens again, a server on the way changes your mail"),
    ),
    Cause(
        "S208",
        "dkim_weak_key",
        "5.7.21",
        "RFC 8301 section 3",
        N_("The DKIM signature of {domain} does not count ({detail})"),
        N_("ask the administrator of {domain} for a key of 2048 bits and rsa-sha256"),
    ),
    Cause(
        "S209",
        "dkim_expired",
        "5.7.21",
        "RFC 6376 section 3.5",
        N_("The DKIM signature of {domain} has expired"),
        N_("send the mail again"),
    ),
    Cause(
        "S210",
        "spf_failed",
        "5.7.23",
        "RFC 7208 section 8.4, RFC 7372 section 3.2",
        N_("SPF of {domain} does not allow the server that sent this mail ({detail})"),
        _OWN_SERVER_SIGN,
    ),
    Cause(
        "S211",
        "dmarc_failed",
        "5.7.26",
        "RFC 9989 section 5.3",
        N_(
            "Neither SPF nor DKIM proves that {address} sent this mail; DMARC of "
            "{domain} asks to stop it ({detail})"
        ),
        N_(
            "send it through the mail server of {domain}; if you did, ask its "
            "administrator to sign with DKIM"
        ),
    ),
    Cause(
        "S212",
        "redirect_not_proven",
        "5.7.26",
        "RFC 5322 section 3.6.6, RFC 6376 section 5.4",
        N_(
            "This mail was redirected in the name of {address} (Resent-From), and "
            "neither SPF nor a DKIM signature over Resent-From proves that"
        ),
        N_("forward the mail instead of redirecting it"),
    ),
    Cause(
        "S213",
        "check_failed",
        "5.7.26",
        "RFC 8601 section 2.7",
        N_("Not all checks of this mail passed ({detail})"),
        _OWN_SERVER,
    ),
    Cause(
        "S214",
        "record_broken",
        "5.7.24",
        "RFC 7208 section 2.6.7",
        N_("A DNS record of {domain} cannot be used ({detail})"),
        N_("ask the administrator of {domain} to correct it"),
    ),
    Cause(
        "S215",
        "forward_not_proven",
        "5.7.26",
        "RFC 7960 section 3.2",
        N_(
            "This mail was passed on by a list or a forwarder, and what proved that "
            "{address} sent it was lost on the way"
        ),
        N_("send it to the relay address yourself"),
    ),
    Cause(
        "S216",
        "dkim_not_counted",
        "5.7.21",
        "RFC 6376 section 6.1",
        N_("The DKIM signature of {domain} does not count ({detail})"),
        N_("ask the administrator of {domain} to mend it"),
    ),
    Cause(
        "S217",
        "header_unclear",
        "5.7.21",
        "RFC 5322 section 2.2, RFC 6376 section 8.15",
        N_("No DKIM signature of this mail counts, since {detail}"),
        N_("send it again; if it happens again, a server on the way breaks your mail"),
    ),
    Cause(
        "S218",
        "dkim_key_broken",
        "5.7.21",
        "RFC 6376 section 6.1.2",
        N_("The key for the DKIM signature of {domain} cannot be used ({detail})"),
        N_("ask the administrator of {domain} to publish it again"),
    ),
    Cause(
        "S219",
        "dkim_missing",
        "5.7.20",
        "RFC 6376 section 6.3, RFC 7372 section 3.1",
        N_(
            "Mail of {domain} must be signed with DKIM, and this mail is not: it came "
            "from a server that SPF allows, which others may use too"
        ),
        _OWN_SERVER_SIGN,
    ),
    # ------------------------------------------------ proven once, used again
    Cause(
        "S301",
        "signature_old",
        "5.7.7",
        "RFC 6376 section 8.6",
        N_(
            "The DKIM signature of {domain} is of {detail}: an old mail may have been "
            "sent again by somebody else"
        ),
        _RELEASE,
    ),
    Cause(
        "S302",
        "signature_reused",
        "5.7.7",
        "RFC 6376 section 8.6",
        N_("The DKIM signature of {domain} came before with another mail"),
        _RELEASE,
    ),
    # ------------------------------------------------ not to be known now
    Cause(
        "S401",
        "dns_temporary",
        "4.4.3",
        "RFC 7208 section 2.6.6, RFC 6376 section 6.1.2",
        N_(
            "DNS did not answer, so that nobody can say whether {address} sent this "
            "mail"
        ),
        N_("your mail server tries again by itself"),
    ),
    Cause(
        "S402",
        "dns_unavailable",
        "5.4.3",
        "RFC 7208 section 2.6.6, RFC 6376 section 6.1.2",
        N_(
            "DNS has not answered for a long time, so that nobody can say whether "
            "{address} sent this mail"
        ),
        _RELEASE,
    ),
    Cause(
        "S403",
        "checks_busy",
        "4.3.2",
        "RFC 5321 section 4.2.2",
        N_("Too many other mails are being checked"),
        N_("your mail server tries again by itself"),
    ),
)

CAUSES: Final = {cause.number: cause for cause in _ROWS}
"""By number, in order."""
BY_REASON: Final = {cause.reason: cause for cause in _ROWS}


def cause(reason: str) -> Cause:
    """Return the row of a reason word.

    Raises:
        KeyError: The catalogue has no such word.
    """
    return BY_REASON[reason]


def in_words(verdict: Mapping[str, Json] | None, texts: Texts) -> str:
    """Return what a stored verdict says of a mail, in a language; empty: nothing.

    A verdict of before details were kept is shown as it was written.
    """
    row = CAUSES.get(str((verdict or {}).get("cause")))
    if row is None or verdict is None or "detail" not in verdict:
        return texts.told(str((verdict or {}).get("text") or ""))
    return row.text(
        address=str(verdict["address"]),
        detail=texts.told(str(verdict["detail"])),
        texts=texts,
    )


def with_table(page: str) -> str:
    """Return a page with the catalogue between its marks.

    Raises:
        ValueError: A mark is missing.
    """
    head, _, rest = page.partition("<!-- causes -->\n")
    _, found, tail = rest.partition("<!-- /causes -->")
    if not found:
        raise ValueError("the page has no place for the causes")
    lines = [
        "| cause | reason | status | what the sender reads | source |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {one.number} | `{one.reason}` | `{one.enhanced}` | {one.plain} "
            f"| {one.source} |"
            for one in _ROWS
        ),
    ]
    table = "\n".join(lines)
    return f"{head}<!-- causes -->\n{table}\n<!-- /causes -->{tail}"
