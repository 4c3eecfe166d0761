"""Senders for crash tests: mail programs that do not give up."""

from __future__ import annotations

import smtplib
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.fakes.processes import mail_to, send_in

if TYPE_CHECKING:
    from tests.fakes.processes import RelayProcess


class Senders:
    """Sessions that insist until every mail has its 250.

    `accepted` counts answers by subject: a mail whose answer was lost is sent again.
    """

    def __init__(
        self,
        relay: RelayProcess,
        rcpt: str,
        *,
        mails: int,
        sessions: int,
        pause_s: float = 0.02,
        name: str = "Mail",
    ) -> None:
        """Divide the mails among the sessions; each subject begins with `name`."""
        self.accepted: Counter[str] = Counter()
        self._relay = relay
        self._rcpt = rcpt
        self._lock = threading.Lock()
        self._each = mails // sessions
        self._pause_s = pause_s
        self._name = name
        self._threads = [
            threading.Thread(target=self._session, args=(number,), daemon=True)
            for number in range(sessions)
        ]

    def start(self) -> None:
        """Start all sessions."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for all sessions."""
        for thread in self._threads:
            thread.join(240)
            assert not thread.is_alive()

    def _session(self, number: int) -> None:
        waiting = [
            (
                f"{self._name} {number}-{mail}",
                mail_to(
                    "kim@customer.example", Subject=f"{self._name} {number}-{mail}"
                ).as_bytes(),
            )
            for mail in range(self._each)
        ]
        while waiting:
            try:
                with self._relay.smtp() as client:
                    while waiting:
                        subject, raw = waiting[0]
                        send_in(client, raw, self._rcpt)
                        with self._lock:
                            self.accepted[subject] += 1
                        waiting.pop(0)
                        # Spread the load over the kills.
                        time.sleep(self._pause_s)
            except (OSError, smtplib.SMTPException, AssertionError):
                time.sleep(0.1)
