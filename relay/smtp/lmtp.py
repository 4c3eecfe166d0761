"""LMTP: the dialogue of SMTP between a mail server and whoever delivers for it.

Two things differ (RFC 2033 section 4): the session begins with LHLO, and a mail is
answered once for each RCPT that was accepted, in their order, so that one recipient's
refusal does not touch another's mail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.smtp.session import VERBS, SMTPSession

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.smtp.transaction import Conclusion, Transaction


class LMTPSession(SMTPSession):
    """One LMTP session."""

    async def smtp_LHLO(self, hostname: str | None) -> None:  # noqa: N802
        """Greet, and announce the extensions (RFC 2033 section 4.1)."""
        await self._hello(hostname, "LHLO")

    def _lines(self, transaction: Transaction, conclusion: Conclusion) -> Sequence[str]:
        """Return what became of the mail, for each RCPT (RFC 2033 section 4.2)."""
        return [conclusion.lines[rcpt] for rcpt in transaction.accepted]


LMTPSession.verbs = {
    **{verb: method for verb, method in VERBS.items() if verb not in {"EHLO", "HELO"}},
    "LHLO": LMTPSession.smtp_LHLO,
}
