"""What must be there before mail can go a way to Salesforce (R1, R2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.log_by import WhoDecides
from relay.core.translate import N_

if TYPE_CHECKING:
    from relay.config import Settings

NO_ORG = N_(
    "There is no connection to Salesforce: an administrator must name the org and its "
    "login in the settings file (salesforce.instance_url) and restart the relay. It "
    "needs Enterprise or Unlimited Edition, or Professional with API access."
)
NO_HOST = N_(
    "There is no smarthost: copies are sent through it, so an administrator must name "
    "it in the settings file (notices.smarthost) and restart the relay."
)


def lack(settings: Settings, word: WhoDecides) -> str:
    """Return what is missing for a choice, and what to do; empty where nothing is."""
    by_bcc = word is WhoDecides.BCC_ONLY
    if by_bcc:
        return "" if settings.notices.smarthost else NO_HOST
    return "" if settings.salesforce.instance_url else NO_ORG
